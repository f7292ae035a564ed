"""What the changelogs of a system keep: read to their ends, as a worker that takes the rows over would read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from alto_streams.parts import bootstrap_servers
from alto_streams.tables.markers import is_marker
from alto_streams.tables.versions import decode_value


@dataclass(slots=True)
class Kept:
    """`rows`: keys whose last record is no tombstone. `markers`: how many were written, the largest key and value."""

    records: int = 0
    rows: int = 0
    markers: int = 0
    marker_bytes: int = 0


async def kept(broker: str, topics: Sequence[str]) -> Kept:
    """What these topics hold now."""
    found = Kept()
    last: dict[tuple[str, int, bytes], bool] = {}
    reading = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap_servers(broker),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with reading as consumer:
        places = list(consumer.assignment())
        ends = await consumer.end_offsets(places)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            for records in (await consumer.getmany(timeout_ms=500, max_records=5_000)).values():
                for record in records:
                    found.records += 1
                    last[record.topic, record.partition, record.key] = record.value is not None
                    if record.value is not None and is_marker(decode_value(record.value)[1]):
                        found.markers += 1
                        found.marker_bytes = max(found.marker_bytes, len(record.key) + len(record.value))
    found.rows = sum(last.values())
    return found
