"""The shell around a stage's machine: whatever interrupts it, nothing that a row has asked for is ever lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
import pytest

from alto_streams.agents.stage import StageAgent
from alto_streams.errors import Fenced
from alto_streams.pipeline import Gather, Pipeline
from alto_streams.records import (
    Cancel,
    Child,
    Close,
    Context,
    DeadLetter,
    Forget,
    HomeRecord,
    Items,
    Poison,
    Raw,
    Request,
    Result,
    Status,
    Timer,
    Wire,
    Work,
    decoder,
    encode,
)
from alto_streams.request_ids import created_ms, new_request_id
from alto_streams.sender import Out
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.merge import encode_key, encode_value
from tests.simulation.script import Passage, Question, Report, Sentence, pipeline

decode: Callable[[bytes], Wire] = decoder(HomeRecord)  # type: ignore[arg-type]

REQUEST = new_request_id()
HORIZON_MS = 60_000


class Polled(NamedTuple):
    topic: str
    partition: int
    offset: int
    at_ms: int
    value: bytes
    key: str = ""


class Stored(NamedTuple):
    offset: int
    value: bytes


class Table:
    """The changelog: it outlives every worker."""

    def __init__(self) -> None:
        self.rows: dict[str, Stored] = {}
        self.most = 1_000_000

    def get(self, partition: int, key: str) -> Stored | None:
        return self.rows.get(key)

    def items(self, partition: int) -> Iterable[tuple[str, Stored]]:
        return list(self.rows.items())

    async def put_many(self, partition: int, rows: Sequence[tuple[str, int, bytes | None]]) -> None:
        for key, offset, value in rows:
            if len(value or b"") > self.most:
                raise Poison("a record is larger than a record may be")
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


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def log() -> Log:
    return Log()


async def worker(stage: str, table: Table, log: Log, pipeline: Pipeline = pipeline) -> StageAgent:
    """A worker that has just taken the partition over."""
    machine = StageMachine(pipeline, stage, lambda *_: 0, Limits(4, 5_000))
    agent = StageAgent(pipeline, stage, machine, table, log.send_all, horizon_ms=HORIZON_MS, maps_at_once=1)
    await agent.take_over(0, created_ms(REQUEST))
    return agent


def polled(*records: Wire, first: int = 0) -> list[Polled]:
    return [Polled("home", 0, n, created_ms(REQUEST), encode(each)) for n, each in enumerate(records, first)]


def sentence(index: int) -> Items:
    child = Child(Raw(msgspec.json.encode(Sentence(f"sentence {index}"))))
    return Items(REQUEST, "answer", "", first=index, children=[child])


async def interrupted(agent: StageAgent, records: list[Polled], log: Log) -> None:
    """It dies between writing its rows and sending what they ask for."""
    log.is_down = True
    with pytest.raises(Fenced):
        await agent.handle(0, records)
    log.is_down = False
    await agent.stop()


async def test_an_outbox_that_was_not_sent_is_sent_again(table: Table, log: Log) -> None:
    records = polled(sentence(0), sentence(1))
    await interrupted(await worker("claims", table, log), records, log)
    assert log.works() == []
    await (await worker("claims", table, log)).handle(0, records)
    assert sorted(log.works()) == ["0", "1"]


async def test_two_deaths_in_a_row_lose_nothing(table: Table, log: Log) -> None:
    first, second = polled(sentence(0), sentence(1))
    await interrupted(await worker("claims", table, log), [first], log)
    # The next owner finds the first record's outbox unsent, applies the second one, and dies at the same place.
    await interrupted(await worker("claims", table, log), [first, second], log)
    await (await worker("claims", table, log)).handle(0, [first, second])
    assert sorted(log.works()) == ["0", "1"]


async def test_a_record_that_comes_again_is_not_applied_again(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0)))
    await agent.handle(0, polled(sentence(0)))
    assert log.works() == ["0", "0"]  # the same item twice: its receiver drops the second
    await agent.handle(0, polled(sentence(0), first=1))  # said once more: applied, and asks for nothing
    assert log.works() == ["0", "0"]


async def test_a_finished_request_shrinks_to_its_marker(table: Table, log: Log) -> None:
    asked = Request(REQUEST, pipeline.name, Raw(msgspec.json.encode(Question("why?"))))
    records = polled(asked, Items(REQUEST, "answer", "", close=Close(0)))
    await interrupted(await worker("report", table, log), records, log)
    assert len(table.rows[REQUEST].value) > 64  # its last words are not out yet
    await (await worker("report", table, log)).handle(0, records)
    stored = table.rows[REQUEST]
    assert len(encode_key(REQUEST, 9_999) + encode_value(2**40, stored.value)) <= 64
    assert sum(out.topic == "results.factcheck" for out in log.outs) == 2
    again = await worker("report", table, log)
    sent = len(log.outs)
    await again.handle(0, records)  # known to have been applied, by the marker alone
    assert len(log.outs) == sent


async def test_a_finished_request_leaves_no_timer(table: Table, log: Log) -> None:
    """Its deadline may be as far away as the horizon, and each timer holds its record and a context."""
    deadline_ms = created_ms(REQUEST) + 900_000
    body = Raw(msgspec.json.encode(Question("why?")))
    agent = await worker("report", table, log)
    await agent.handle(0, polled(Request(REQUEST, pipeline.name, body, Context(deadline_ms=deadline_ms))))
    assert len(agent._timers) == 1
    await agent.handle(0, polled(Items(REQUEST, "answer", "", close=Close(0)), first=1))
    assert len(agent._timers) == 0


async def test_what_was_never_stored_is_forgotten_too(table: Table, log: Log) -> None:
    """A stray record opens a row in memory; it changes nothing, so it is not stored."""
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(Timer(REQUEST, "0", 1, 0)))
    assert list(agent._live[0]) == [REQUEST]
    assert await agent.sweep(created_ms(REQUEST) + HORIZON_MS + 1) == 0
    assert list(agent._live[0]) == []


async def test_poison_leaves_the_rest_of_its_batch_alone(table: Table, log: Log) -> None:
    bad = Items(REQUEST, "answer", "not/a/path", children=[Child()])
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0), bad, sentence(1)))
    assert sorted(log.works()) == ["0", "1"]
    (letter,) = log.letters()
    assert (letter.topic, letter.partition, letter.offset) == ("chunks.factcheck.claims", 0, 1)
    assert (letter.stage, letter.request, letter.record) == ("claims", REQUEST, encode(bad))


async def test_what_no_home_can_read_is_a_letter_with_its_key(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    await agent.handle(0, [Polled("home", 0, 3, 0, b"", REQUEST), Polled("home", 0, 4, 0, b"x" * 900_000, REQUEST)])
    assert [(letter.request, letter.key, letter.record) for letter in log.letters()] == [(REQUEST, REQUEST, b"")] * 2


async def test_nothing_rises_from_the_dead(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0), Forget(REQUEST)))
    assert await agent.sweep(created_ms(REQUEST) + HORIZON_MS + 1) == 1
    assert table.rows == {}
    sent = len(log.outs)
    late = polled(sentence(1), first=5)[0]._replace(at_ms=created_ms(REQUEST) + HORIZON_MS + 1)
    await agent.handle(0, [late])
    assert table.rows == {}
    assert len(log.outs) == sent


async def until(true: Callable[[], bool], deadline_s: float = 5.0) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def test_a_row_that_is_too_large_costs_its_own_request_only(table: Table, log: Log) -> None:
    other = new_request_id()
    agent, small = await worker("claims", table, log), msgspec.structs.replace(sentence(0), request=other)
    table.most = 2_000
    large = msgspec.structs.replace(sentence(0), children=[Child(Raw(msgspec.json.encode(Sentence("x" * 3_000))))])
    await agent.handle(0, polled(large, small))
    (cancel,) = log.home_records("report")
    assert isinstance(cancel, Cancel)
    assert (cancel.request, cancel.status) == (REQUEST, Status.FAILED)
    assert [(letter.request, letter.offset, letter.record) for letter in log.letters()] == [(REQUEST, 0, b"")]
    assert list(table.rows) == [other]
    await agent.handle(0, polled(Forget(REQUEST), first=2))
    assert len(encode_key(REQUEST, 9_999) + encode_value(2**40, table.rows[REQUEST].value)) <= 64


async def test_a_timer_counts_though_its_row_is_not_in_memory(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0)))
    log.is_down = True
    with pytest.raises(Fenced):
        await agent.handle(0, polled(sentence(1), first=1))
    log.is_down = False
    await agent._silent(0, Timer(REQUEST, "0", 1, 0))
    assert [type(record) for record in log.home_records("claims")] == [Timer]
    await agent._silent(0, Timer(REQUEST, "0", 1, 7))  # void
    assert len(log.home_records("claims")) == 1


async def test_a_map_that_waits_for_its_turn_is_not_silent(table: Table, log: Log) -> None:
    busy = Pipeline("factcheck", request=Question)
    gate = asyncio.Event()

    @busy.map()
    async def evidence(question: Question) -> list[Passage]:
        await gate.wait()
        return []

    @busy.gather
    def report(found: Gather[Passage]) -> Report:
        return Report({}, {}, {})

    assert busy.root == "report"
    agent = await worker("evidence", table, log, busy)
    asked = [Request(request, "factcheck", Raw(b'{"prompt": "why?"}')) for request in (REQUEST, new_request_id())]
    await agent.handle(0, [each._replace(at_ms=0) for each in polled(*asked)])  # both silences are over at once
    for _ in range(10):
        await asyncio.sleep(0)
    gate.set()
    await until(lambda: len(log.outs) >= 2)
    assert [type(record) for record in log.home_records("evidence")] == [Result, Result]
    await agent.stop()
