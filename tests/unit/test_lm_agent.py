"""The LM worker: what it tells the homes, and when a work item may be acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
import pytest

from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.control import ControlLog
from alto_streams.errors import CallRejected, EngineBroke, EngineOverloaded, EngineUnavailable, Retryable
from alto_streams.models.protocol import Capabilities, Piece
from alto_streams.wire.records import (
    Call,
    Cancelled,
    Chunk,
    ControlRecord,
    End,
    Ended,
    Home,
    HomeRecord,
    Start,
    Status,
    Wire,
    Work,
    decoder,
)

decode: Callable[[bytes], Wire] = decoder(HomeRecord)  # type: ignore[arg-type]
ADDRESS = "engine http://10.0.0.7:8000/v1"
WORK = Work("r", "claims", "0", 1, Home("chunks.factcheck.claims", 0), "judge", Call([], 10))


class Engine:
    """Says what it is told to, in the order of its calls; `None` stands for waiting until it is aborted."""

    name = "engine x"
    capabilities = Capabilities(1, 100)

    def __init__(self, *calls: list[str | Exception | None]) -> None:
        self._calls = list(calls)
        self.is_up = True
        self.begun = self.closed = 0
        self.waiting = asyncio.Event()

    async def ready(self) -> None:
        if not self.is_up:
            raise EngineUnavailable("engine x: cannot be reached")

    async def generate(self, call: Call, **_: Any) -> AsyncGenerator[Piece, None]:
        self.begun += 1
        if not self.is_up:
            raise EngineUnavailable("engine x: cannot be reached")
        try:
            for said in self._calls.pop(0):
                if isinstance(said, Exception):
                    raise said
                if said is None:
                    self.waiting.set()
                    await asyncio.Event().wait()
                else:
                    yield Piece(said)
        finally:
            self.closed += 1

    async def close(self) -> None: ...


def overloaded() -> Exception:
    return EngineOverloaded("overloaded (HTTP 429)", ADDRESS, retry_after_s=0.001)


class Log:
    """The homes. `refuses`: how many of the next sends fail."""

    def __init__(self) -> None:
        self.records: list[Wire] = []
        self.refuses = 0

    async def enqueue(self, topic: str, key: Any, value: bytes | None, partition: int | None = None) -> Any:
        delivery: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.refuses -= 1
        if self.refuses >= 0:
            delivery.set_exception(Retryable("not acknowledged"))
        else:
            delivery.set_result(None)
            self.records.append(decode(value or b""))
        return delivery

    async def delivered(self, delivery: asyncio.Future[Any], topic: str) -> Any:
        return await delivery

    def chunks(self) -> list[tuple[str, End | None]]:
        return [(record.text, record.end) for record in self.records if isinstance(record, Chunk)]

    def starts(self) -> int:
        return sum(isinstance(record, Start) for record in self.records)


@pytest.fixture
def log() -> Log:
    return Log()


def agent_of(engine: Engine, log: Log) -> LMAgent:
    def none() -> Any:
        raise AssertionError("no consumer is needed")

    control = ControlLog(none, [], 600.0)
    agent = LMAgent(engine, control, log)
    control.listen(agent.on_over)
    return agent


async def until(true: Callable[[], bool], deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def test_an_engine_that_is_down_at_the_start_costs_no_attempt(log: Log) -> None:
    engine = Engine(["one\n"])
    engine.is_up = False
    run = asyncio.create_task(agent_of(engine, log).handle(WORK, "factcheck"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log.records == []  # a start would set the home's silence timer going
    engine.is_up = True
    await run
    assert [text for text, _ in log.chunks()] == ["one\n", ""]


async def test_an_engines_own_mistake_ends_the_run(log: Log) -> None:
    await agent_of(Engine(["one\n", KeyError("what the user said")]), log).handle(WORK, "factcheck")
    (one, _), (_, end) = log.chunks()
    assert one == "one\n"
    assert end == End(Status.FAILED, "error", "the engine raised KeyError")


async def test_a_failed_send_ends_the_run_at_once(log: Log) -> None:
    engine = Engine(["one\n", "two\n", None], ["one\n"])
    log.refuses = 1  # the first chunk
    await agent_of(engine, log).handle(WORK, "factcheck")
    assert (engine.begun, engine.closed) == (2, 2)
    assert [text for text, _ in log.chunks()] == ["one\n", ""]


async def test_an_item_that_is_delivered_again_is_done_when_its_run_is(log: Log) -> None:
    engine = Engine(["one\n", None])
    agent = agent_of(engine, log)
    first = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await engine.waiting.wait()
    second = asyncio.create_task(agent.handle(WORK, "factcheck"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()  # acknowledged now, it would be lost with this worker
    agent.on_over(Ended("r", "claims", "0", 1))
    await asyncio.gather(first, second)
    assert engine.begun == 1


async def test_what_is_over_is_aborted_in_the_engine(log: Log) -> None:
    engine = Engine([None])
    agent = agent_of(engine, log)
    run = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await engine.waiting.wait()
    agent.on_over(Ended("r", "claims", "0", 0))
    assert not run.done()
    agent.on_over(Ended("r", "claims", "0", 1))
    await run
    assert (engine.closed, log.chunks()) == (1, [])


@pytest.mark.parametrize("refusal", [overloaded, lambda: EngineUnavailable("cannot be reached", ADDRESS)])
async def test_an_engine_that_does_not_take_the_call_uses_up_no_start(
    refusal: Callable[[], Exception], log: Log
) -> None:
    engine = Engine([refusal()], [refusal()], ["one\n"])
    await agent_of(engine, log).handle(WORK, "factcheck")
    assert (engine.begun, log.starts()) == (3, 0)
    assert [text for text, _ in log.chunks()] == ["one\n", ""]


async def test_a_run_is_told_of_with_its_first_chunk_and_not_before(log: Log) -> None:
    engine = Engine([None])
    agent = agent_of(engine, log)
    run = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await engine.waiting.wait()
    assert log.records == []
    agent.on_over(Ended("r", "claims", "0", 1))
    await run


async def test_a_first_piece_without_text_says_that_the_call_was_taken(log: Log) -> None:
    engine = Engine(["", None])
    agent = agent_of(engine, log)
    run = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await engine.waiting.wait()
    assert [type(record) for record in log.records] == [Start]
    agent.on_over(Ended("r", "claims", "0", 1))
    await run


async def test_a_call_that_broke_its_engine_is_counted(log: Log) -> None:
    engine = Engine([EngineBroke("the connection broke", ADDRESS)], ["one\n"])
    await agent_of(engine, log).handle(WORK, "factcheck")
    (broken,) = [record.run for record in log.records if isinstance(record, Start)]
    (second,) = {record.run for record in log.records if isinstance(record, Chunk)}
    assert broken != second


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(EngineBroke("the connection broke", ADDRESS), "error"), (CallRejected("refuses it", ADDRESS), "rejected")],
)
async def test_a_record_says_what_happened_and_not_where(failure: Any, reason: str, log: Log) -> None:
    await agent_of(Engine(["one\n", failure]), log).handle(WORK, "factcheck")
    assert log.chunks()[-1] == ("", End(Status.FAILED, reason, failure.cause))
    assert ADDRESS in str(failure)
    assert ADDRESS not in failure.cause


async def test_an_engine_that_cannot_continue_is_not_asked_to(log: Log) -> None:
    engine = Engine()
    await agent_of(engine, log).handle(msgspec.structs.replace(WORK, prefix="one\n"), "factcheck")
    ((_, end),) = log.chunks()
    assert end is not None
    assert (engine.begun, end.status, end.reason) == (0, Status.FAILED, "rejected")
    assert end.cause is not None
    assert all(word in end.cause for word in ("stage claims", "model judge", 'broken="redo"'))
    assert engine.name not in end.cause


async def test_a_newer_attempt_aborts_the_older(log: Log) -> None:
    engine = Engine([None], ["two\n"])
    agent = agent_of(engine, log)
    first = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await engine.waiting.wait()
    await agent.handle(msgspec.structs.replace(WORK, attempt=2), "factcheck")
    async with asyncio.timeout(60):
        await first
    assert (engine.begun, engine.closed) == (2, 2)
    assert {record.attempt for record in log.records if isinstance(record, Chunk)} == {2}


@pytest.mark.parametrize("over", [Ended("r", "claims", "0", 1), Cancelled("r", ""), None])
async def test_what_is_over_closes_the_engines_call_before_anything_else(over: ControlRecord | None, log: Log) -> None:
    engine = Engine(["one\n", None])
    agent = agent_of(engine, log)
    run = asyncio.create_task(agent.handle(WORK, "factcheck"))
    await engine.waiting.wait()
    if over is None:
        run.cancel()
    else:
        agent.on_over(over)
    await asyncio.wait({run})
    assert (engine.closed, run.cancelled()) == (1, over is None)  # cancelled: the worker stops and acknowledges nothing


@pytest.mark.parametrize("failure", [CallRejected("no"), EngineBroke("died"), KeyError("x"), None])
async def test_the_engines_call_is_closed_before_its_end_is_told(failure: Exception | None, log: Log) -> None:
    engine = Engine(["one\n", failure] if failure else ["one\n"])
    closed: list[int] = []
    enqueue = log.enqueue

    async def watched(topic: str, key: Any, value: bytes | None, partition: int | None = None) -> Any:
        closed.append(engine.closed)
        return await enqueue(topic, key, value, partition)

    log.enqueue = watched  # type: ignore[method-assign]
    await agent_of(engine, log).handle(WORK, "factcheck")
    assert closed == [0, 1]


async def test_the_last_text_and_the_end_are_one_chunk(log: Log) -> None:
    class Ends(Engine):
        async def generate(self, call: Call, **_: Any) -> AsyncGenerator[Piece, None]:
            yield Piece("one\n")
            yield Piece("two\n", finish="stop")

    await agent_of(Ends(), log).handle(WORK, "factcheck")
    assert log.chunks() == [("one\n", None), ("two\n", End(Status.OK, "stop"))]
