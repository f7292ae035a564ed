"""Deleting what is left of old requests, while their records are being worked on."""

from __future__ import annotations

from collections.abc import Iterable

from alto_streams.agents.pump import Polled
from alto_streams.agents.stage import StageAgent
from alto_streams.errors import Fenced
from alto_streams.request_ids import created_ms
from alto_streams.sender import Out
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from tests.placing import Always
from tests.simulation.script import pipeline
from tests.unit.stage_worker import HORIZON_MS, REQUEST, Log, Stored, Table, polled, sentence, worker


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
    await agent.save()
    assert await agent.sweep(late_ms) == 1
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
    assert await agent.sweep(created_ms(REQUEST) + HORIZON_MS + 1) == 1
    assert table.rows == {}
