"""Reads a stretch of `results.<pipeline>` again, apart from any consumer group: what the egress rebuilds Redis from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from alto_streams.agents.egress.publisher import PublishedEvent
from alto_streams.errors import Poison
from alto_streams.log.consumer import LogConsumer
from alto_streams.parts import Backoff, bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.wire import topic_names
from alto_streams.wire.records import Event, decoder

log = logging.getLogger(__name__)

RECORDS_PER_BATCH = 512
_decode = decoder(Event)


class ResultsReplay:
    """`replay(partition, start, stop)` of one pipeline's results; waits with backoff while the broker is down."""

    def __init__(self, settings: Settings, pipeline: str) -> None:
        self._address = settings.broker
        self._topic = topic_names.results_topic(pipeline)
        self._fetch_max_wait_ms = settings.fetch_max_wait_ms

    async def __call__(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[PublishedEvent]]:
        """Batches in offset order, from `start` or the oldest kept, up to before `stop`; skips the undecodable."""
        position = start
        backoff = Backoff()
        while position < stop:
            try:
                async for upto, records in self._read(partition, position, stop):
                    position = upto
                    backoff.reset()
                    if records:
                        yield records
                return  # also where all of it is gone, past the retention: then there was nothing to pass
            except (KafkaError, OSError) as error:
                wait = backoff.next_s()
                log.warning(
                    "broker at %s: %s while reading %s-%d again; trying again in %.1f s",
                    *(self._address, type(error).__name__, self._topic, partition, wait),
                )
                await asyncio.sleep(wait)

    async def _read(self, partition: int, start: int, stop: int) -> AsyncIterator[tuple[int, list[PublishedEvent]]]:
        consumer = LogConsumer(
            bootstrap_servers=bootstrap_servers(self._address),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=self._fetch_max_wait_ms,
        )
        place = TopicPartition(self._topic, partition)
        try:
            await consumer.start()
            oldest = (await consumer.beginning_offsets([place]))[place]  # asked first: not behind a waiting fetch
            position = max(start, oldest)
            consumer.assign([place])
            consumer.seek(place, position)
            while position < stop:
                polled = await consumer.getmany(place, timeout_ms=1_000, max_records=RECORDS_PER_BATCH)
                # The position also passes what carries no record: transaction markers, compacted offsets.
                position = await consumer.position(place)
                yield (
                    position,
                    [
                        PublishedEvent(partition, raw.offset, event)
                        for raw in polled.get(place, [])
                        if raw.offset < stop and (event := _event(raw.value)) is not None
                    ],
                )
        finally:
            await consumer.stop()


def _event(payload: bytes | None) -> Event | None:
    try:
        return None if payload is None else _decode(payload)
    except Poison:
        return None  # the egress dead-letters it when the consumer group reads it
