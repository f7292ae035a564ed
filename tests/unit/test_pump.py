"""From a stream to batches: records of a partition are worked on in their order, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from alto_streams.agents.lm_pool import Pool
from alto_streams.agents.pump import Polled, Pump
from alto_streams.app import _pumped
from alto_streams.errors import Fenced
from alto_streams.records import Call, Home, Work, encode

WORK = encode(Work("r", "claims", "0", 1, Home("chunks.factcheck.claims", 0), "judge", Call([], 10)))


class Event:
    def __init__(self, offset: int, generation: int, value: bytes | None = WORK) -> None:
        self.is_acked = False
        self.message = SimpleNamespace(
            topic="work.factcheck.claims",
            partition=0,
            offset=offset,
            timestamp=1.0,
            key=b"r",
            value=value,
            generation_id=generation,
        )

    def ack(self) -> None:
        self.is_acked = True


class Stream:
    """What Faust hands to an agent."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(consumer_generation_id=1)
        self._queue: asyncio.Queue[Event] = asyncio.Queue()

    def deliver(self, *offsets: int, value: bytes | None = WORK) -> list[Event]:
        events = [Event(offset, self.app.consumer_generation_id, value) for offset in offsets]
        for event in events:
            self._queue.put_nowait(event)
        return events

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Event]:
        while True:
            yield await self._queue.get()


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


async def until(true: Callable[[], bool], deadline_s: float = 5.0) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def running(part: Any, stream: Stream) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(part.run(stream))
    try:
        yield
    finally:
        task.cancel()
        await part.stop()
        await asyncio.gather(task, return_exceptions=True)


async def test_fenced_records_are_done_before_later_ones() -> None:
    stream, handler = Stream(), Handler()
    handler.error = Fenced("a heartbeat is late")
    async with running(Pump(handler), stream):
        first = stream.deliver(1)
        await until(lambda: handler.tries > 0)
        second = stream.deliver(2)
        handler.error = None  # it was answered after all: the group has not changed
        await until(lambda: second[0].is_acked)
        assert handler.taken == [1, 2]
        assert first[0].is_acked


async def test_records_of_an_older_generation_are_left_to_their_next_delivery() -> None:
    stream, handler = Stream(), Handler()
    handler.error = Fenced("the partition is lost")
    async with running(Pump(handler), stream):
        old = stream.deliver(1, 2)
        await until(lambda: handler.tries > 0)
        old += stream.deliver(3)
        stream.app.consumer_generation_id, handler.error = 3, None
        new = stream.deliver(1, 2, 3)
        await until(lambda: new[-1].is_acked)
        assert handler.taken == [1, 2, 3]
        assert not any(event.is_acked for event in old)


async def test_nothing_is_begun_after_a_failure() -> None:
    stream, handler = Stream(), Handler()
    handler.error = ValueError("a bug")
    pump = Pump(handler)
    async with running(pump, stream):
        stream.deliver(1)
        await until(pump.broken.done)
        later = stream.deliver(2)
        await until(lambda: stream._queue.empty())
        await asyncio.sleep(0)
        assert (handler.tries, later[0].is_acked) == (1, False)
        with pytest.raises(ValueError, match="a bug"):
            pump.broken.result()


@pytest.mark.parametrize("error", [Fenced("a heartbeat is late"), ValueError("a bug")])
async def test_a_work_item_is_tried_again_while_nobody_else_gets_it(error: Exception) -> None:
    stream, handler = Stream(), Handler()
    handler.error = error
    async with running(Pool(handler, 1, None), stream):  # type: ignore[arg-type]
        (item,) = stream.deliver(1)
        await until(lambda: handler.tries > 0)
        handler.error = None
        await until(lambda: item.is_acked)


async def test_a_fenced_work_item_is_left_to_the_next_generation() -> None:
    stream, handler = Stream(), Handler()
    handler.error = Fenced("the partition is lost")
    async with running(Pool(handler, 1, None), stream):  # type: ignore[arg-type]
        (old,) = stream.deliver(1)
        await until(lambda: handler.tries > 0)
        stream.app.consumer_generation_id, handler.error = 2, None
        (new,) = stream.deliver(1)
        await until(lambda: new.is_acked)
        assert not old.is_acked


async def test_an_agent_whose_stream_breaks_ends_its_worker() -> None:
    crashes: list[BaseException | None] = []
    agents: list[Callable[[Any], Any]] = []

    class App:
        conf = SimpleNamespace(id="app")

        def topic(self, *_: Any, **__: Any) -> None: ...

        def agent(self, *_: Any, **__: Any) -> Callable[[Any], None]:
            return agents.append

        async def crash(self, error: BaseException | None) -> None:
            crashes.append(error)

    class Broken(Stream):
        async def events(self) -> AsyncIterator[Event]:
            raise ValueError("a bug")
            yield

    _pumped(App(), "chunks.factcheck.claims", Handler())  # type: ignore[arg-type]
    await agents[0](Broken())
    assert [type(error) for error in crashes] == [ValueError]
