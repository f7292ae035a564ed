"""Which of the work items that wait begins next, how many of them may wait, and which are given up."""

from __future__ import annotations

import asyncio
import math
import time

import msgspec
import pytest

from alto_streams.agents.lm.pool import SHED_CAUSE, Pool, prefetch
from alto_streams.agents.lm.tally import Tally
from alto_streams.errors import Fenced
from alto_streams.log.sender import Out
from alto_streams.scheduler.slack import PATIENCE_MS, ROOM
from alto_streams.wire.plans import Receipt
from alto_streams.wire.records import Call, Cancel, Context, Home, Status, Work, decoder, encode
from tests.simulation.group import Record

WORK = Work("r", "claims", "0", 1, Home("chunks.factcheck.claims", 0), "judge", Call([], 10))


class Engines:
    """Takes calls; each ends when it is told to. `known`: paths of which it says that it knows them."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.known: set[str] = set()
        self._ends: dict[str, asyncio.Event] = {}

    def knows(self, work: Work) -> bool:
        return work.path in self.known

    async def handle(self, work: Work, pipeline: str) -> None:
        self.begun.append(work.path)
        await self._ends.setdefault(work.path, asyncio.Event()).wait()

    async def end(self, path: str) -> None:
        self._ends.setdefault(path, asyncio.Event()).set()
        await settled()


class Giver:
    """The consumer, as far as it is asked."""

    def __init__(self) -> None:
        self.generation, self.woken, self.acked = 1, 0, list[int]()

    def finished(self, topic: str, partition: int, offsets: list[int], generation: int) -> None:
        self.acked += offsets

    def wake(self) -> None:
        self.woken += 1


class World:
    """A pool with a log that takes what it sends, or is fenced."""

    def __init__(self, slots: int = 1, *, owned_ms: int = 0) -> None:
        self.engines, self.giver, self.tally = Engines(), Giver(), Tally()
        self.sent: list[Out] = []
        self.fenced = False
        self.now_ms = int(time.time() * 1000)
        self.pool = Pool(
            self.engines,  # type: ignore[arg-type]
            slots,
            self._send,
            self.giver,  # type: ignore[arg-type]
            self.tally,
            roots={"factcheck": "report"},
            owned_ms={("work.factcheck.claims", 0): owned_ms},
        )
        self._offset = 0

    async def _send(self, outs: list[Out]) -> None:
        if self.fenced:
            raise Fenced("a heartbeat is late")
        self.sent += outs

    def give(
        self,
        path: str,
        latest_s: float | None = None,
        due_s: float | None = 100.0,
        *,
        shed: bool = False,
        came_s: float = 0.0,
        stage: str = "claims",
    ) -> None:
        """A work item; times in seconds from now."""
        due_ms = None if due_s is None else self.now_ms + round(1000 * due_s)
        latest_ms = None if latest_s is None else self.now_ms + round(1000 * latest_s)
        receipt = Receipt("prompt_aware", "", "sender", work=100, latest_ms=latest_ms)
        context = Context(deadline_ms=due_ms, shed=shed)
        work = msgspec.structs.replace(WORK, path=path, stage=stage, receipt=receipt, context=context)
        came_ms = self.now_ms + round(1000 * came_s)
        self._offset += 1
        record = Record(f"work.factcheck.{stage}", 0, self._offset, came_ms, b"r", encode(work))
        self.pool.take(self.giver.generation, [record])


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_call_with_the_least_slack_begins_first() -> None:
    world = World()
    for path, latest_s in (("0", 50.0), ("1", 90.0), ("2", 20.0), ("3", 60.0)):
        world.give(path, latest_s)
    await settled()
    for path in ("0", "2", "3"):
        await world.engines.end(path)
    assert world.engines.begun == ["0", "2", "3", "1"]
    await world.pool.stop()


async def test_a_call_without_a_deadline_waits_for_those_that_are_due_sooner_but_not_for_ever() -> None:
    world = World()
    patience_s = PATIENCE_MS / 1000
    world.give("runs")
    world.give("new", None, None)
    world.give("old", None, None, came_s=-patience_s)
    world.give("due", patience_s / 2)
    world.give("late", patience_s * 2)
    await settled()
    for path in ("runs", "old", "due", "new"):
        await world.engines.end(path)
    assert world.engines.begun == ["runs", "old", "due", "new", "late"]
    await world.pool.stop()


async def test_a_call_that_cannot_be_in_time_any_more_lets_others_pass() -> None:
    world = World()
    world.give("runs")
    world.give("lost", -50.0, 1.0)
    world.give("in time", 20.0)
    await settled()
    await world.engines.end("runs")
    assert world.engines.begun == ["runs", "in time"]
    await world.pool.stop()


@pytest.mark.parametrize(("slots", "waiting"), [(1, 2), (8, 2), (64, 16)])
async def test_what_waits_is_bounded_by_the_engines_slots_and_for_each_stage(slots: int, waiting: int) -> None:
    world = World(slots)
    for n in range(slots + waiting - 1):
        world.give(str(n))
    claims, queries = "work.factcheck.claims", "work.factcheck.queries"
    assert (prefetch(slots), world.pool.is_full(claims)) == (waiting, False)
    world.give("last")
    assert (world.pool.held, world.pool.is_full(claims)) == (slots + waiting, True)
    assert not world.pool.is_full(queries)  # its first calls may have less slack
    assert world.giver.woken == 0
    await settled()
    await world.engines.end("0")
    assert not world.pool.is_full(claims)
    assert world.giver.woken == 1
    await world.pool.stop()


async def test_calls_without_a_deadline_hide_none_that_has_one() -> None:
    world, claims = World(), "work.factcheck.claims"
    world.give("runs", 50.0)
    for path in ("0", "1", "2"):
        world.give(path, None, None)
    assert not world.pool.is_full(claims)
    world.give("due", 5.0)
    await settled()
    await world.engines.end("runs")
    assert world.engines.begun == ["runs", "due"]
    world.give("3", None, None)
    assert world.pool.is_full(claims)  # there is a bound to this, too
    await world.engines.end("due")
    assert (world.giver.woken, world.pool.is_full(claims)) == (2, False)
    await world.pool.stop()


async def test_a_hopeless_request_is_shed_at_once_and_needs_no_slot() -> None:
    world = World()
    world.give("runs")
    world.give("0", -50.0, 1.0, shed=True)
    await settled()
    (told,) = world.sent
    assert (told.topic, told.key, told.partition) == ("chunks.factcheck.report", b"r", None)
    cancel = decoder(Cancel)(told.value or b"")
    assert cancel == Cancel("r", "", status=Status.SHED, cause=SHED_CAUSE)
    assert (world.engines.begun, world.giver.acked, world.pool.held, world.pool.shed) == (["runs"], [2], 1, 1)
    await world.pool.stop()


@pytest.mark.parametrize("why", ["it is not asked for", "there is time", "it runs here", "it may run elsewhere"])
async def test_what_is_not_shed(why: str) -> None:
    world = World(owned_ms=int(time.time() * 1000) - 10_000)
    world.engines.known = {"0"} if why == "it runs here" else set()
    latest_s, due_s = (10.0, 20.0) if why == "there is time" else (-50.0, 1.0)
    came_s = -60.0 if why == "it may run elsewhere" else 0.0  # it came before these partitions did
    world.give("runs")
    world.give("0", latest_s, due_s, shed=why != "it is not asked for", came_s=came_s)
    await settled()
    assert (world.pool.held, world.sent) == (2, [])
    await world.engines.end("runs")
    assert (world.engines.begun, world.sent) == (["runs", "0"], [])
    await world.pool.stop()


async def test_an_engine_with_room_tries_what_seems_hopeless() -> None:
    """Else a pace that was learned in an overload would shed all requests for ever: no call could teach another."""
    slots = 40
    world, tried = World(slots), [str(n) for n in range(math.ceil(ROOM * slots))]
    for path in (*tried, "one more"):
        world.give(path, -50.0, 1.0, shed=True)
    await settled()
    assert (world.engines.begun, len(world.sent)) == (tried, 1)
    await world.pool.stop()


async def test_a_shed_request_is_acknowledged_only_once_its_home_can_know() -> None:
    world = World()
    world.fenced = True
    world.give("runs")
    world.give("0", -50.0, 1.0, shed=True)
    await settled()
    assert (world.giver.acked, world.pool.held) == ([], 2)
    world.fenced = False
    end = time.monotonic() + 60
    while not world.giver.acked:
        assert time.monotonic() < end
        await asyncio.sleep(0.001)
    assert len(world.sent) == 1
    await world.pool.stop()


async def test_what_waited_under_an_older_generation_makes_room() -> None:
    world = World()
    for path in ("0", "1", "2"):
        world.give(path)
    await settled()
    assert world.pool.is_full("work.factcheck.claims")
    world.giver.generation = 2
    world.give("1")
    assert (world.pool.held, world.tally.held) == (2, 2)
    await settled()
    await world.engines.end("0")
    assert world.engines.begun == ["0", "1"]
    await world.pool.stop()
    assert (world.pool.held, world.tally.held) == (0, 0)
