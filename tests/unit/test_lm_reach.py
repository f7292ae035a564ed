"""An LM worker whose engine is away: what it says of itself, and until when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from alto_streams.agents.lm import reports as lm_reports
from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.control import ControlLog
from alto_streams.agents.lm.reach import AWAY_S, BACK, Reach
from alto_streams.agents.lm.reports import Reports
from alto_streams.agents.lm.tally import Tally
from alto_streams.errors import EngineUnavailable
from alto_streams.models.protocol import Capabilities, Piece
from alto_streams.wire.codec import decoder
from alto_streams.wire.plans import EngineReport
from alto_streams.wire.records import Call
from tests.unit.test_lm_agent import WORK, Log


class Server:
    """An engine that can be stopped. `asked`: how often it was asked whether it is there."""

    name, capabilities = "engine http://gpu-1:8000/v1", Capabilities(slots=8, context_tokens=0)

    def __init__(self) -> None:
        self.is_up, self.asked = True, 0

    async def ready(self) -> None:
        self.asked += 1
        if not self.is_up:
            raise EngineUnavailable("it refuses connections", self.name)

    async def generate(self, call: Call, **_: object) -> AsyncGenerator[Piece, None]:
        await self.ready()
        yield Piece("one\n", finish="stop")

    async def close(self) -> None:
        """Nothing is open."""


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_an_engine_is_away_once_it_has_not_been_reached_for_a_while_and_until_it_answers() -> None:
    server, clock = Server(), Clock()
    reach = Reach(server, clock)
    assert (await reach.look(), server.asked) == (False, 0)
    server.is_up = False
    reach.failed()
    clock.now_s += AWAY_S / 2
    reach.failed()
    assert (await reach.look(), server.asked) == (False, 0)
    clock.now_s += AWAY_S / 2
    assert (await reach.look(), reach.is_away) == (True, True)
    server.is_up = True
    assert [await reach.look() for _ in range(BACK)] == [*[True] * (BACK - 1), False]
    assert not reach.is_away


async def test_an_engine_that_comes_and_goes_stays_away() -> None:
    """Each of its workers' comings and goings is a rebalance."""
    server, clock = Server(), Clock()
    reach = Reach(server, clock)
    reach.failed()
    clock.now_s += AWAY_S
    for second in range(100):
        server.is_up = second % BACK != 0
        if server.is_up:
            reach.reached()  # by a call
        assert await reach.look()


async def test_an_engine_that_refuses_calls_and_answers_is_not_away() -> None:
    """An overloaded one, for example: calls that it has taken go on."""
    server, clock = Server(), Clock()
    reach = Reach(server, clock)
    reach.failed()
    clock.now_s += 10 * AWAY_S
    assert not await reach.look()


async def test_a_call_tells_whether_its_engine_was_reached() -> None:
    server = Server()
    agent = LMAgent(server, ControlLog(lambda: None, [], 600.0), Log())  # type: ignore[arg-type]
    agent.reach = Reach(server, clock := Clock())
    server.is_up = False
    call = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await asyncio.sleep(0.02)
    clock.now_s += AWAY_S
    assert await agent.reach.look()
    server.is_up = True
    await call
    while await agent.reach.look():
        pass
    assert server.asked >= BACK


async def test_a_worker_whose_engine_is_away_has_left_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm_reports, "REPORT_S", 0.005)
    told: list[bool] = []
    away = False

    async def is_away() -> bool:
        return away

    async def send(topic: str, key: bytes, value: bytes) -> None:
        told.append(decoder(EngineReport)(value).left)

    async def until(count: int) -> None:
        end = time.monotonic() + 60
        while len(told) < count:
            assert time.monotonic() < end, told
            await asyncio.sleep(0.001)

    reports = Reports(Tally(), send, "judge", "http://w:1", "engine", 8, session_s=1000.0, is_away=is_away)
    reports.start()
    await until(1)
    away = True
    await until(2)
    away = False
    await until(3)
    await reports.stop()
    assert told == [False, True, False, True]
