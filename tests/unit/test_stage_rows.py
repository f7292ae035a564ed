"""The rows of a stage's home: stored behind what they ask for, and before their records are committed."""

from __future__ import annotations

import msgspec
import pytest

from alto_streams.agents.home import agent as stage
from alto_streams.agents.home import row_saver
from alto_streams.log.sender import Out
from alto_streams.tables.markers import decode_stored
from alto_streams.tables.versions import encode_key, encode_value
from alto_streams.wire.records import (
    Cancel,
    Child,
    Chunk,
    Close,
    End,
    Forget,
    Items,
    Raw,
    Request,
    Start,
    Status,
)
from alto_streams.wire.request_ids import new_request_id
from tests.simulation.script import Question, Sentence, pipeline
from tests.unit.stage_worker import (
    REQUEST,
    Log,
    Table,
    interrupted,
    polled,
    sentence,
    until,
    worker,
)


async def test_nothing_is_committed_before_its_row_is_stored(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0), sentence(1), first=7))
    assert (agent.held(0), table.rows) == (7, {})
    await agent.save()
    assert (agent.held(0), table.rows[REQUEST].offset) == (None, 8)
    await agent.stop()


async def test_rows_are_stored_by_themselves(table: Table, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_saver, "SAVE_EVERY_S", 0.01)
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0)))
    await until(lambda: agent.held(0) is None)
    await agent.handle(0, polled(sentence(1), first=1))
    await until(lambda: table.rows[REQUEST].offset == 1)
    await agent.stop()


async def test_what_was_not_stored_is_done_again_by_the_next_owner(table: Table, log: Log) -> None:
    records = polled(sentence(0), sentence(1))
    agent = await worker("claims", table, log)
    await agent.handle(0, records[:1])
    await agent.save()
    await agent.handle(0, records[1:])
    await agent.stop()
    assert log.works() == ["0", "1"]
    await (await worker("claims", table, log)).handle(0, records)
    assert log.works() == ["0", "1", "1"]  # the same item twice: its receiver drops the second


async def test_what_could_not_be_sent_is_done_again(table: Table, log: Log) -> None:
    """By the same worker, to its rows as they were before, of which not all is stored."""
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0)))
    await interrupted(agent, polled(sentence(1), sentence(2), first=1), log)
    assert agent.held(0) == 0
    await agent.handle(0, polled(sentence(1), sentence(2), first=1))
    assert log.works() == ["0", "1", "2"]
    await agent.save()
    assert set(decode_stored(table.rows[REQUEST].value, 2).calls) == {"0", "1", "2"}
    await agent.stop()


async def test_a_row_is_not_stored_before_what_it_asks_for_is_in_the_log(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    send_all = log.send_all

    async def saves(outs: list[Out]) -> None:
        await agent.save()
        assert table.rows == {}
        await send_all(outs)

    agent._send_all = saves
    await agent.handle(0, polled(sentence(0)))
    await agent.save()
    assert list(table.rows) == [REQUEST]
    await agent.stop()


async def test_work_that_is_over_is_not_dispatched_again(table: Table, log: Log) -> None:
    ended = Chunk(REQUEST, "0", 1, "run", 0, "", end=End(Status.OK, "stop"))
    records = polled(sentence(0), Start(REQUEST, "0", 1, "run"), ended, sentence(1))
    agent = await worker("claims", table, log)
    await agent.handle(0, records)  # as they come after a crash
    assert log.works() == ["1"]
    await agent.stop()


async def test_a_record_that_comes_again_is_not_applied_again(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0)))
    await agent.handle(0, polled(sentence(0)))
    await agent.handle(0, polled(sentence(0), first=1))  # said once more: applied, and asks for nothing
    assert log.works() == ["0"]
    await agent.stop()


async def test_a_finished_request_shrinks_to_its_marker(table: Table, log: Log) -> None:
    asked = Request(REQUEST, pipeline.name, Raw(msgspec.json.encode(Question("why?"))))
    records = polled(asked, Items(REQUEST, "answer", "", close=Close(0)))
    agent = await worker("report", table, log)
    await agent.handle(0, records)
    await agent.save()
    stored = table.rows[REQUEST]
    assert len(encode_key(REQUEST, 9_999) + encode_value(2**40, stored.value)) <= 64
    assert sum(out.topic == "results.factcheck" for out in log.outs) == 2
    assert agent._rows.keys(0) == []
    again = await worker("report", table, log)
    sent = len(log.outs)
    await again.handle(0, records)  # known to have been applied, by the marker alone
    assert len(log.outs) == sent
    assert again._rows.keys(0) == []


async def test_a_row_that_is_too_large_costs_its_own_request_only(table: Table, log: Log) -> None:
    other = new_request_id()
    agent, small = await worker("claims", table, log), msgspec.structs.replace(sentence(0), request=other)
    table.most = 2_000
    large = msgspec.structs.replace(sentence(0), children=[Child(Raw(msgspec.json.encode(Sentence("x" * 3_000))))])
    await agent.handle(0, polled(large, small))
    await agent.save()
    (cancel,) = log.home_records("report")
    assert isinstance(cancel, Cancel)
    assert (cancel.request, cancel.status) == (REQUEST, Status.FAILED)
    assert [(letter.request, letter.offset, letter.record) for letter in log.letters()] == [(REQUEST, 0, b"")]
    assert (list(table.rows), agent.held(0)) == ([other], None)
    await agent.handle(0, polled(Forget(REQUEST), first=2))
    await agent.save()
    assert len(encode_key(REQUEST, 9_999) + encode_value(2**40, table.rows[REQUEST].value)) <= 64
    await agent.stop()


async def test_changes_that_are_stored_already_are_not_made_again(table: Table, log: Log) -> None:
    """A save may be in the changelog though nobody was told, and be read back under the rows in memory."""
    agent = await worker("claims", table, log)
    await agent.handle(0, polled(sentence(0), Start(REQUEST, "0", 1, "a"), Start(REQUEST, "0", 1, "b")))
    (written,) = agent._rows.to_save(0, ())
    await table.put_many(0, [written])
    agent._rows.drop(0, REQUEST)
    assert agent._rows.row(0, REQUEST).calls["0"].run == "b"
    await agent.stop()


async def test_a_row_that_is_too_large_is_owed_until_its_request_is_told(table: Table, log: Log) -> None:
    agent = await worker("claims", table, log)
    table.most = 100
    await agent.handle(0, polled(sentence(0)))
    log.is_down = True
    await agent.save()
    assert agent.held(0) == 0
    log.is_down = False
    await agent.save()
    assert (agent.held(0), [type(each) for each in log.home_records("report")]) == (None, [Cancel])
    await agent.stop()


async def test_rows_do_not_run_far_ahead_of_the_changelog(
    table: Table, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MOST_AHEAD", 2)
    agent = await worker("claims", table, log)
    for number in range(4):
        await agent.handle(0, polled(sentence(number), first=number))
    assert (table.rows[REQUEST].offset, agent.held(0)) == (2, 3)
    await agent.stop()
