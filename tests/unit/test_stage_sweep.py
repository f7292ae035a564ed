"""Deleting what is left of old requests, while their records are being worked on."""

from __future__ import annotations

import json
from collections.abc import Iterable

from alto_streams.agents.home.agent import StageAgent
from alto_streams.errors import Fenced
from alto_streams.log.sender import Out
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.wire.records import Cancel, Context, Event, EventKind, Raw, Request, Wire, decoder, encode
from alto_streams.wire.request_ids import created_ms
from alto_streams.worker.pump import Polled
from tests.placing import Always
from tests.simulation.script import pipeline
from tests.unit.stage_worker import HORIZON_MS, REQUEST, Log, Stored, Table, polled, sentence, worker

LATE_MS = created_ms(REQUEST) + HORIZON_MS + 1
ASKED = Request(REQUEST, "factcheck", Raw(b'{"prompt":"why?"}'), Context(deadline_ms=created_ms(REQUEST) + HORIZON_MS))


def late(record: Wire, offset: int) -> Polled:
    """A record that was appended after the horizon."""
    return Polled("home", 0, offset, LATE_MS, encode(record))


def told(log: Log) -> list[tuple[EventKind, str | None]]:
    """What the client hears: kinds of events, and how it ended."""
    decode = decoder(Event)
    events = [decode(out.value or b"") for out in log.outs if out.topic == "results.factcheck"]
    return [(event.kind, json.loads(bytes(event.body)).get("cause")) for event in events]


async def test_a_row_that_a_batch_has_in_hand_is_not_swept_away() -> None:
    table, log = Table(), Log()
    agent = await worker("claims", table, log)
    send_all = log.send_all

    async def sweeps(outs: list[Out]) -> None:
        assert await agent.sweep(LATE_MS) == 0
        await send_all(outs)

    agent._send_all = sweeps
    garbage = Polled("home", 0, 1, 0, b"not JSON")  # its letter is sent in the middle of the batch
    await agent.handle(0, [*polled(sentence(0)), garbage, *polled(sentence(1), first=2)])
    assert sorted(log.works()) == ["0", "1"]
    await agent.save()
    assert await agent.sweep(LATE_MS) == 1
    assert table.rows == {}


class Lost(Table):
    """Partition 0 has another owner by now."""

    def items(self, partition: int) -> Iterable[tuple[str, Stored]]:
        if partition == 0:
            raise Fenced("partition 0 is not this worker's")
        return super().items(partition)


async def test_a_lost_partition_does_not_keep_the_others_from_being_swept() -> None:
    """A batch that ends after its partition was lost leaves rows of it in memory."""
    table, log = Lost(), Log()
    agent = StageAgent(
        *(pipeline, "claims", StageMachine(pipeline, "claims", Always(), Limits(4, 5_000)), table, log.send_all),
        horizon_ms=HORIZON_MS,
        maps_at_once=1,
    )
    agent._rows.own(0)
    await agent.take_over(1, created_ms(REQUEST))
    await agent.handle(1, polled(sentence(0)))
    await agent.save()
    assert await agent.sweep(LATE_MS) == 1
    assert table.rows == {}


async def test_the_root_forgets_no_request_that_has_not_ended() -> None:
    """Its worker may have been away until long after the deadline: the client still hears how it ended, once."""
    table, log = Table(), Log()
    root = await worker("report", table, log)
    await root.handle(0, polled(ASKED))
    await root.save()
    assert await root.sweep(LATE_MS) == 0
    (end,) = log.home_records("report")
    await root.handle(0, [late(end, 1), late(end, 2)])
    await root.save()
    assert told(log) == [(EventKind.ACCEPTED, None), (EventKind.DONE, "deadline exceeded")]
    assert await root.sweep(LATE_MS) == 0
    assert await root.sweep(LATE_MS + HORIZON_MS + 1) == 1
    assert table.rows == {}
    await root.stop()


async def test_a_request_that_nobody_was_there_to_hear_of_still_ends_once() -> None:
    """It may stand in the log twice."""
    table, log = Table(), Log()
    root, taker = await worker("report", table, log), await worker("answer", Table(), log)
    for home in (root, taker):
        await home.handle(0, [late(ASKED, 0)])
    await root.save()
    await root.sweep(LATE_MS + 1)
    await root.handle(0, [late(ASKED, 1)])
    assert told(log) == [(EventKind.ACCEPTED, None), (EventKind.DONE, "deadline exceeded")]
    assert log.works() == []


async def test_behind_a_crash_the_root_remembers_how_requests_ended_for_a_horizon() -> None:
    """What the crash has left unacknowledged comes again, and may be older than the horizon by then."""
    table, log = Table(), Log()
    root = await worker("report", table, log)
    await root.handle(0, polled(Cancel(REQUEST, "")))
    await root.save()
    log.outs.clear()
    again = await worker("report", table, log, at_ms=LATE_MS)
    assert await again.sweep(LATE_MS + 1) == 0
    await again.handle(0, [late(ASKED, 1)])
    assert told(log) == []
    assert await again.sweep(LATE_MS + HORIZON_MS + 1) == 1


async def test_what_the_root_knows_of_no_request_is_swept_away() -> None:
    table, log = Table(), Log()
    root = await worker("report", table, log)
    await root.handle(0, polled(sentence(0)))
    await root.save()
    assert await root.sweep(LATE_MS) == 1
    assert (log.outs, table.rows) == ([], {})
