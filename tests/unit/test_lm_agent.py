"""The LM worker: what it tells the homes, and when a work item may be acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from alto_streams.agents.control import ControlLog
from alto_streams.agents.lm import LMAgent
from alto_streams.errors import Retryable
from alto_streams.models.protocol import Capabilities, EngineUnavailable, Piece
from alto_streams.records import Call, Chunk, End, Ended, Home, HomeRecord, Start, Status, Wire, Work, decoder

decode: Callable[[bytes], Wire] = decoder(HomeRecord)  # type: ignore[arg-type]
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
    control.on_over = agent.on_over
    return agent


async def until(true: Callable[[], bool], deadline_s: float = 5.0) -> None:
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
    assert log.starts() == 1


async def test_an_engines_own_mistake_ends_the_run(log: Log) -> None:
    await agent_of(Engine(["one\n", KeyError("what the user said")]), log).handle(WORK, "factcheck")
    (one, _), (_, end) = log.chunks()
    assert one == "one\n"
    assert end == End(Status.FAILED, "error", "the engine raised KeyError")


async def test_a_failed_send_ends_the_run_at_once(log: Log) -> None:
    engine = Engine(["one\n", "two\n", None], ["one\n"])
    log.refuses = 1  # the start
    await agent_of(engine, log).handle(WORK, "factcheck")
    assert (engine.begun, engine.closed, log.starts()) == (2, 2, 1)
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
