"""Which tries of a call count, and which are not made at all."""

from __future__ import annotations

import msgspec

from alto_streams.models.protocol import EngineUnavailable
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
