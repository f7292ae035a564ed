"""From a stream to batches: records of a partition are worked on in their order, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from alto_streams.agents.lm.pool import Pool
from alto_streams.errors import Fenced
from alto_streams.log.handover import Taker
from alto_streams.settings import Settings
from alto_streams.wire.records import Call, Home, Work, encode
from alto_streams.worker.app import new_app
from alto_streams.worker.pump import Polled, Pump, pumped
from tests.simulation.group import Record

WORK = encode(Work("r", "claims", "0", 1, Home("chunks.factcheck.claims", 0), "judge", Call([], 10)))


TOPIC = "work.factcheck.claims"


def record(offset: int, value: bytes | None = WORK) -> Record:
    return Record(TOPIC, 0, offset, 1000, b"r", value)


class Giver:
    """What hands records over: the consumer, as far as it is asked."""

    def __init__(self) -> None:
        self.generation = 1
        self.acked: list[tuple[int, int]] = []  # generations and offsets
        self.woken = 0

    def deliver(self, taker: Taker, *offsets: int, value: bytes | None = WORK) -> None:
        taker.take(self.generation, [record(offset, value) for offset in offsets])

    def finished(self, topic: str, partition: int, offsets: Iterable[int], generation: int) -> None:
        assert (topic, partition) == (TOPIC, 0)
        self.acked += [(generation, offset) for offset in offsets]

    def wake(self) -> None:
        self.woken += 1


class Handler:
    """Takes records, unless it is fenced or broken."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.tries = 0
        self.error: Exception | None = None

    async def __call__(self, partition: int, polled: list[Polled]) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.taken += [each.offset for each in polled]

    async def handle(self, work: Work, pipeline: str) -> None:
        await self(0, [])


async def until(true: Callable[[], bool], deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def test_fenced_records_are_done_before_later_ones() -> None:
    giver, handler = Giver(), Handler()
    handler.error = Fenced("a heartbeat is late")
    pump = Pump(handler, giver)
    giver.deliver(pump, 1)
    await until(lambda: handler.tries > 0)
    giver.deliver(pump, 2)
    handler.error = None  # it was answered after all: the group has not changed
    await until(lambda: not pump.held)
    assert handler.taken == [1, 2]
    assert giver.acked == [(1, 1), (1, 2)]


async def test_records_of_an_older_generation_are_left_to_their_next_delivery() -> None:
    giver, handler = Giver(), Handler()
    handler.error = Fenced("the partition is lost")
    pump = Pump(handler, giver)
    giver.deliver(pump, 1, 2)
    await until(lambda: handler.tries > 0)
    giver.deliver(pump, 3)
    giver.generation, handler.error = 3, None
    giver.deliver(pump, 1, 2, 3)
    await until(lambda: not pump.held)
    assert handler.taken == [1, 2, 3]
    assert giver.acked == [(3, 1), (3, 2), (3, 3)]


async def test_nothing_is_begun_after_a_failure() -> None:
    giver, handler = Giver(), Handler()
    handler.error = ValueError("a bug")
    pump = Pump(handler, giver)
    giver.deliver(pump, 1)
    await until(pump.broken.done)
    giver.deliver(pump, 2)
    await asyncio.sleep(0)
    assert (handler.tries, giver.acked) == (1, [])
    with pytest.raises(ValueError, match="a bug"):
        pump.broken.result()


async def test_a_full_pump_tells_when_it_has_room() -> None:
    giver, handler = Giver(), Handler()
    handler.error = Fenced("a heartbeat is late")
    pump = Pump(handler, giver, at_most=2)
    giver.deliver(pump, 1)
    assert not pump.is_full(TOPIC)
    giver.deliver(pump, 2)
    assert pump.is_full(TOPIC)
    handler.error = None
    await until(lambda: not pump.held)
    assert giver.woken
    assert not pump.is_full(TOPIC)


@pytest.mark.parametrize("error", [Fenced("a heartbeat is late"), ValueError("a bug")])
async def test_a_work_item_is_tried_again_while_nobody_else_gets_it(error: Exception) -> None:
    giver, handler = Giver(), Handler()
    handler.error = error
    pool = Pool(handler, 1, None, giver)  # type: ignore[arg-type]
    giver.deliver(pool, 1)
    await until(lambda: handler.tries > 0)
    handler.error = None
    await until(lambda: giver.acked == [(1, 1)])


async def test_a_fenced_work_item_is_left_to_the_next_generation() -> None:
    giver, handler = Giver(), Handler()
    handler.error = Fenced("the partition is lost")
    pool = Pool(handler, 1, None, giver)  # type: ignore[arg-type]
    giver.deliver(pool, 1)
    await until(lambda: handler.tries > 0)
    giver.generation, handler.error = 2, None
    giver.deliver(pool, 1)
    await until(lambda: not pool.held)
    assert giver.acked == [(2, 1)]


async def test_work_items_that_are_given_up_are_not_acknowledged() -> None:
    giver, handler = Giver(), Handler()
    handler.error = Fenced("a heartbeat is late")
    pool = Pool(handler, 1, None, giver)  # type: ignore[arg-type]
    giver.deliver(pool, 1, 2)
    await until(lambda: handler.tries > 0)
    await pool.stop()
    assert (pool.held, giver.acked) == (0, [])


async def test_a_handler_that_breaks_ends_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[BaseException] = []
    works: list[Callable[[], Awaitable[None]]] = []
    app = new_app("app", Settings(var=tmp_path))

    async def crash(error: BaseException) -> None:
        crashes.append(error)

    monkeypatch.setattr(app, "crash", crash)
    monkeypatch.setattr(app, "agent", lambda *_, **__: works.append)
    handler = Handler()
    handler.error = ValueError("a bug")
    pumped(app, "chunks.factcheck.claims", handler)
    working = asyncio.ensure_future(works[0](None))  # type: ignore[call-arg]
    await until(lambda: bool(app.consumer._takers))
    app.consumer._takers["chunks.factcheck.claims"].take(1, [record(1)])
    app.consumer_generation_id = 1
    await working
    assert [type(error) for error in crashes] == [ValueError]
    assert not app.consumer._takers
