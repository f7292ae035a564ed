"""LM workers in front of engines that are slow, silent, or refuse what is asked of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import msgspec
import pytest

from alto_streams.agents.lm import agent as lm
from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.control import ControlLog
from alto_streams.errors import CallRejected, EngineOverloaded, EngineUnavailable
from alto_streams.models.protocol import Piece
from alto_streams.parts import Backoff
from alto_streams.wire.records import Chunk
from tests.unit.test_lm_agent import WORK, Engine, Log


def agent_for(engine: Engine, log: Log) -> LMAgent:
    return LMAgent(engine, ControlLog(lambda: None, [], 600.0), log)


async def test_a_refusal_to_say_whether_it_is_ready_is_no_verdict_on_a_call() -> None:
    class Refusing(Engine):
        asked = 0

        async def ready(self) -> None:
            self.asked += 1
            if self.asked == 1:
                raise CallRejected("refuses (HTTP 400)")

    log = Log()
    await agent_for(Refusing(["text\n"]), log).handle(WORK, "factcheck")
    assert [type(each) for each in log.records] == [Chunk, Chunk]


async def test_nothing_is_waited_for_once_nothing_runs() -> None:
    asked = asyncio.Event()

    class Away(Engine):
        async def ready(self) -> None:
            asked.set()
            raise EngineUnavailable("it cannot be reached")

    agent = agent_for(Away(), Log())
    task = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await asked.wait()
    await asyncio.sleep(0)
    assert agent.waits_for is not None
    next(iter(agent._running.values()))[1].cancel()
    await task
    assert agent.waits_for is None


@pytest.mark.parametrize("is_told", [False, True])
async def test_an_engine_that_died_is_asked_for_often_until_it_is_back(
    is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started again within seconds: a wait that had doubled to five seconds came on top of that."""
    now_s, waits = [0.0], list[float]()

    async def waiting(seconds: float) -> None:
        waits.append(seconds)
        now_s[0] += seconds

    class Restarted(Engine):
        async def ready(self) -> None:
            if now_s[0] < 60.0:
                raise EngineOverloaded("it loads", retry_after_s=3.0) if is_told else EngineUnavailable("it is away")

    monkeypatch.setattr(lm.time, "monotonic", lambda: now_s[0])
    agent = agent_for(Restarted(), Log())
    monkeypatch.setattr(lm.asyncio, "sleep", waiting)
    await agent._engine_ready(Backoff())
    early = [wait for at, wait in zip(itertools.accumulate(waits), waits, strict=True) if at < lm.BACK_SOON_S]
    assert (max(early) <= lm.SOON_S) is not is_told, "one that says when is believed"
    assert max(waits) > 3.0, "one that stays away is left alone"
    assert agent.waits_for is None


async def test_a_long_line_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its chunks end at line ends, so its home must be told in between that it is being written."""
    seconds = itertools.count(0.0, 2.0)
    monkeypatch.setattr(lm.time, "monotonic", lambda: next(seconds))

    class Slow(Engine):
        async def generate(self, call: object, **_: object) -> AsyncIterator[Piece]:  # type: ignore[override]
            for _n in range(20):
                yield Piece("word ")

    log = Log()
    await agent_for(Slow(), log).handle(WORK, "factcheck")
    chunks = [each for each in log.records if isinstance(each, Chunk)]
    assert len(chunks) > 3
    assert {each.text for each in chunks[:-1]} == {""}
    assert chunks[-1].text == "word " * 20


async def test_a_try_that_was_given_up_counts_as_a_move() -> None:
    class Silent(Engine):
        tries = 0

        async def generate(self, call: object, **_: object) -> AsyncIterator[Piece]:  # type: ignore[override]
            self.tries += 1
            if self.tries < 3:
                raise EngineUnavailable("it has sent nothing for too long")
            yield Piece("text\n", finish="stop")

    agent = agent_for(Silent(), Log())
    await agent.handle(msgspec.structs.replace(WORK, path="7"), "factcheck")
    assert agent.moves >= 3
