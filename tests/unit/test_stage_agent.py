"""The shell around a stage's machine: whatever interrupts it, nothing that a row has asked for is ever lost."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from alto_streams.define.pipeline import Gather, Pipeline
from alto_streams.errors import Fenced
from alto_streams.wire.records import (
    Child,
    Close,
    Context,
    Forget,
    Items,
    Raw,
    Request,
    Result,
    Status,
    Timer,
    encode,
)
from alto_streams.wire.request_ids import created_ms, new_request_id
from alto_streams.worker.pump import Polled
from tests.simulation.script import Passage, Question, Report, pipeline
from tests.unit.stage_worker import (
    HORIZON_MS,
    REQUEST,
    Log,
    Table,
    polled,
    sentence,
    until,
    worker,
)


async def test_a_finished_request_leaves_no_timer(table: Table, log: Log) -> None:
    """Its deadline may be as far away as the horizon, and each timer holds its record and a context."""
    deadline_ms = created_ms(REQUEST) + 900_000
    body = Raw(msgspec.json.encode(Question("why?")))
    agent = await worker("report", table, log)
    await agent.handle(0, polled(Request(REQUEST, pipeline.name, body, Context(deadline_ms=deadline_ms))))
    assert len(agent._timers) == 1
    await agent.handle(0, polled(Items(REQUEST, "answer", "", close=Close(0)), first=1))
    assert len(agent._timers) == 0


async def test_whoever_bounds_requests_hears_how_each_has_ended(table: Table, log: Log) -> None:
    ended: list[tuple[str, Status]] = []
    agent = await worker("report", table, log, on_over=lambda *told: ended.append(told))
    await agent.handle(0, polled(Request(REQUEST, pipeline.name, Raw(msgspec.json.encode(Question("why?"))))))
    assert ended == []
    await agent.handle(0, polled(Items(REQUEST, "answer", "", close=Close(0)), first=1))
    assert ended == [(REQUEST, Status.OK)]


async def test_what_was_never_stored_is_forgotten_too(table: Table, log: Log) -> None:
    """A stray record opens a row in memory; it changes nothing, so it is not stored."""
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(Timer(REQUEST, "0", 1, 0)))
    assert agent._rows.keys(0) == [REQUEST]
    assert await agent.sweep(created_ms(REQUEST) + HORIZON_MS + 1) == 0
    assert agent._rows.keys(0) == []


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
    await agent.save()
    assert await agent.sweep(created_ms(REQUEST) + HORIZON_MS + 1) == 1
    assert table.rows == {}
    sent = len(log.outs)
    late = polled(sentence(1), first=5)[0]._replace(at_ms=created_ms(REQUEST) + HORIZON_MS + 1)
    await agent.handle(0, [late])
    assert table.rows == {}
    assert len(log.outs) == sent


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
