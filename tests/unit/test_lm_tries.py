"""Which tries of a call count, and which are not made at all."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from alto_streams.agents.lm import agent as lm
from alto_streams.errors import EngineUnavailable
from tests.unit.test_lm_agent import ADDRESS, WORK, Engine, Log, agent_of


async def test_a_call_that_its_engine_had_begun_is_counted() -> None:
    """One that hangs in the middle of its first line would be tried for ever."""
    log, engine = Log(), Engine(["half a ", EngineUnavailable("it has sent nothing for too long", ADDRESS)], ["one\n"])
    await agent_of(engine, log).handle(WORK, "factcheck")
    assert log.starts() == 1


async def test_an_item_that_was_made_is_not_made_again() -> None:
    """It comes again when a rebalance came before its acknowledgement was committed."""
    log, engine = Log(), Engine(["one\n"], ["two\n"])
    agent = agent_of(engine, log)
    for attempt in (1, 1, 2, 1):
        await agent.handle(msgspec.structs.replace(WORK, attempt=attempt), "factcheck")
    assert [text for text, _ in log.chunks()] == ["one\n", "", "two\n", ""]


@pytest.mark.parametrize("is_one_running", [False, True])
async def test_what_was_made_is_remembered_while_an_older_one_runs(
    is_one_running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older one holds up the commit of its partition: only then do the others come again."""
    monkeypatch.setattr(lm, "COMMITTED_S", 0.0)
    log, engine = Log(), Engine(*([[None]] if is_one_running else []), ["one\n"], ["two\n"], ["again\n"])
    agent = agent_of(engine, log)
    works = [msgspec.structs.replace(WORK, path=path) for path in ("0", "1", "2")]
    older = asyncio.create_task(agent.handle(works[0], "factcheck") if is_one_running else asyncio.sleep(0))
    await engine.waiting.wait() if is_one_running else await older
    for work in (*works[1:], works[1]):
        await agent.handle(work, "factcheck")
    said = [text for text, _ in log.chunks() if text]
    assert said == ["one\n", "two\n", *([] if is_one_running else ["again\n"])]
    older.cancel()
