"""Deleting what is left of old requests, while their records are being worked on."""

from __future__ import annotations

from alto_streams.request_ids import created_ms
from alto_streams.sender import Out
from tests.unit.test_stage_agent import HORIZON_MS, REQUEST, Log, Polled, Table, polled, sentence, worker


async def test_a_row_that_a_batch_has_in_hand_is_not_swept_away() -> None:
    table, log = Table(), Log()
    agent = await worker("claims", table, log)
    late_ms = created_ms(REQUEST) + HORIZON_MS + 1
    send_all = log.send_all

    async def sweeps(outs: list[Out]) -> None:
        assert await agent.sweep(late_ms) == 0
        await send_all(outs)

    agent._send_all = sweeps
    garbage = Polled("home", 0, 1, 0, b"not JSON")  # its letter is sent in the middle of the batch
    await agent.handle(0, [*polled(sentence(0)), garbage, *polled(sentence(1), first=2)])
    assert sorted(log.works()) == ["0", "1"]
    assert await agent.sweep(late_ms) == 1
    assert table.rows == {}
