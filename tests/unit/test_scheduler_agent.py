"""The scheduler's shell: whose word it takes for when something was, and what it knows before it plans."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from alto_streams.agents.scheduler.agent import Scheduler
from alto_streams.scheduler.statistics import Statistics
from alto_streams.wire.codec import encode
from alto_streams.wire.plans import ClassReport, EngineReport, Plan

CLASS, START_MS = "p.claims", 1_000_000_000
PARTITIONS = {"chat": {CLASS: 8}}


@dataclass
class Told:
    value: bytes


class Feed:
    """What was planned, as it is read again."""

    def __init__(self) -> None:
        self.plans: dict[str, Plan] = {}


class World:
    """A scheduler, and a log that takes what it publishes; time passes as it is told to."""

    def __init__(self) -> None:
        self.now_ms, self.feed = START_MS, Feed()
        self.published: list[str] = []
        self.statistics = Statistics(lost_s=7.0)
        self.scheduler = Scheduler(
            PARTITIONS,
            self.statistics,
            self.feed,  # type: ignore[arg-type]
            lambda: self,
            lost_s=7.0,
            clock=lambda: self.now_ms / 1000,
            now_ms=lambda: self.now_ms,
        )

    async def send(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Any:
        self.published.append((key or b"").decode())

    def report(self, worker: str, apart_ms: int = 0) -> Told:
        calls = ClassReport(CLASS, 4, 4, 1000, 0, 0, [50, 60, 70, 80], 0.5, 2.0)
        told = EngineReport("chat", worker, worker, self.now_ms + apart_ms, 1.0, 8, classes=[calls])
        return Told(encode(told))

    @property
    def there(self) -> list[str]:
        return list(self.statistics.workers("chat", self.now_ms))


async def started(world: World) -> None:
    """It has read what there was, and is not the active one."""
    task = asyncio.create_task(world.scheduler.run(lambda: False))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("apart_ms", [-3_600_000, -6_900, 0, 6_900, 3_600_000])
async def test_a_worker_whose_clock_is_apart_is_neither_lost_nor_counts_for_more(apart_ms: int) -> None:
    world = World()
    for second in range(200):
        if second == 60:
            await started(world)
        world.now_ms += 1000
        world.scheduler.take(world.report("right"))
        world.scheduler.take(again := world.report("apart", apart_ms))
        world.scheduler.take(again)
        world.now_ms += 500
        assert second < 60 or world.there == ["apart", "right"]
        world.now_ms -= 500
    state = world.statistics.classes("chat", world.now_ms)[CLASS]
    assert state.rate == pytest.approx(8.0, rel=0.1)
    world.now_ms += 7_500
    assert world.there == []


async def test_a_plan_that_another_has_published_is_gone_on_from() -> None:
    world = World()
    world.feed.plans["chat"] = Plan(
        "chat", 41, START_MS, "first", {CLASS: ["gone"] * 8}, {CLASS: {"gone": 1.0}}, {"gone": 1.0}
    )
    for _ in range(10):
        world.now_ms += 1000
        world.scheduler.take(world.report("new"))
        await world.scheduler.tick(world.now_ms)
    planner = world.scheduler._planners["chat"]
    assert planner.plan is not None
    assert (planner.plan.version, set(planner.plan.owners[CLASS])) == (42, {"new"})
    assert "plan:chat" in world.published
