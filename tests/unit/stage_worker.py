"""What a stage's shell is told and says in tests: a changelog and a log in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import pytest

from alto_streams.agents.home.agent import StageAgent
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import Fenced, Poison
from alto_streams.log.sender import Out
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.wire.records import Child, DeadLetter, HomeRecord, Items, Raw, Wire, Work, decoder, encode
from alto_streams.wire.request_ids import created_ms, new_request_id
from alto_streams.worker.pump import Polled
from tests.placing import Always
from tests.simulation.script import Sentence, pipeline

decode: Callable[[bytes], Wire] = decoder(HomeRecord)  # type: ignore[arg-type]

REQUEST = new_request_id()
HORIZON_MS = 60_000


class Stored(NamedTuple):
    offset: int
    value: bytes


class Table:
    """The changelog: it outlives every worker."""

    def __init__(self) -> None:
        self.rows: dict[str, Stored] = {}
        self.most = 1_000_000

        self.generation = 1

    def check(self, partition: int) -> None: ...

    def get(self, partition: int, key: str) -> Stored | None:
        return self.rows.get(key)

    def items(self, partition: int) -> Iterable[tuple[str, Stored]]:
        return list(self.rows.items())

    async def put_many(
        self, partition: int, puts: Iterable[tuple[str, int, bytes | None]], generation: int | None = None
    ) -> None:
        puts = list(puts)
        if any(len(value or b"") > self.most for _, _, value in puts):
            raise Poison("a record is larger than a record may be")
        for key, offset, value in puts:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = Stored(offset, value)


class Log:
    """Takes what is sent, or breaks off the worker that sends."""

    def __init__(self) -> None:
        self.outs: list[Out] = []
        self.is_down = False

    async def send_all(self, outs: list[Out]) -> None:
        if self.is_down:
            raise Fenced("the worker dies here")
        self.outs += outs

    def home_records(self, stage: str) -> list[Wire]:
        return [decode(out.value or b"") for out in self.outs if out.topic == f"chunks.factcheck.{stage}"]

    def letters(self) -> list[DeadLetter]:
        sent = [out for out in self.outs if out.topic == "dead-letters.factcheck"]
        return [msgspec.json.decode(out.value or b"", type=DeadLetter) for out in sent]

    def works(self) -> list[str]:
        return [msgspec.json.decode(o.value or b"", type=Work).path for o in self.outs if o.topic.startswith("work.")]


async def worker(
    stage: str, table: Table, log: Log, pipeline: Pipeline = pipeline, at_ms: int | None = None, **more: Any
) -> StageAgent:
    """A worker that has just taken the partition over: at `at_ms`, by default when the request was made."""
    machine = StageMachine(pipeline, stage, Always(), Limits(4, 5_000))
    agent = StageAgent(pipeline, stage, machine, table, log.send_all, horizon_ms=HORIZON_MS, maps_at_once=1, **more)
    await agent.take_over(0, created_ms(REQUEST) if at_ms is None else at_ms)
    return agent


def polled(*records: Wire, first: int = 0) -> list[Polled]:
    return [Polled("home", 0, n, created_ms(REQUEST), encode(each)) for n, each in enumerate(records, first)]


def sentence(index: int) -> Items:
    child = Child(Raw(msgspec.json.encode(Sentence(f"sentence {index}"))))
    return Items(REQUEST, "answer", "", first=index, children=[child])


async def until(true: Callable[[], bool], deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def interrupted(agent: StageAgent, records: list[Polled], log: Log) -> None:
    """What the records ask for cannot be sent."""
    log.is_down = True
    with pytest.raises(Fenced):
        await agent.handle(0, records)
    log.is_down = False
