"""When a home's timers fire, and which of several for one call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from alto_streams.agents.home.timers import Timers
from alto_streams.wire.records import Timer
from alto_streams.wire.request_ids import new_request_id

REQUEST = new_request_id()


class Fired:
    """What has fired, and how many milliseconds after the beginning."""

    def __init__(self) -> None:
        self.began = time.time()
        self.timers: list[tuple[str, int]] = []
        self.at_ms: list[float] = []

    async def __call__(self, partition: int, timer: Timer) -> None:
        self.timers.append((timer.path, timer.mark))
        self.at_ms.append((time.time() - self.began) * 1000)

    def after(self, ms: int) -> int:
        return int(self.began * 1000) + ms


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - it is the clock that fires
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)  # and what else would fire


@pytest.fixture
def fired() -> Fired:
    return Fired()


async def test_one_that_is_put_off_fires_once_and_not_before_its_time(fired: Fired) -> None:
    timers = Timers(fired)
    for mark in range(1, 4):
        timers.arm(0, Timer(REQUEST, "0", 1, mark), fired.after(20 * mark))
    await until(lambda: bool(fired.timers))
    assert fired.timers == [("0", 3)]
    assert fired.at_ms[0] >= 58
    assert len(timers) == 0


async def test_one_that_is_brought_forward_fires_at_once(fired: Fired) -> None:
    timers = Timers(fired)
    timers.arm(0, Timer(REQUEST, "0", 1, 1), fired.after(60_000))
    timers.arm(0, Timer(REQUEST, "0", 1, 2), fired.after(10))
    await until(lambda: bool(fired.timers))
    assert fired.timers == [("0", 2)]


async def test_a_call_that_is_over_has_no_timers_and_the_others_keep_theirs(fired: Fired) -> None:
    timers = Timers(fired)
    for path in ("0", "1"):
        for due in (False, True):
            timers.arm(0, Timer(REQUEST, path, 1, 1, due), fired.after(10))
    timers.disarm(0, REQUEST, "0")
    await until(lambda: len(fired.timers) == 2)
    assert [path for path, _ in fired.timers] == ["1", "1"]
    assert len(timers) == 0
