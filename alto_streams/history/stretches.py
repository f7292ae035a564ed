"""Reads stretches of the log apart from any group: from an offset or a time up to its present end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from alto_streams.log.broker_errors import told
from alto_streams.log.consumer import LogConsumer
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings

POLLED_MOST = 50  # records; each may be as large as a record may be
PATIENCE_MS = 500
FETCH_WAIT_MS = 100  # a fetch of the partition before holds up the next one's
POLLS_IN_VAIN = 20
CLOCKS_APART_MS = 60_000  # how far a gateway's clock may be from its broker's


@asynccontextmanager
async def reading(config: Settings, doing: str) -> AsyncIterator[LogConsumer]:
    """A consumer without a group.

    Raises:
        PartDown: the broker does not answer, or refuses, while `doing`.
        ConfigError: its records are compressed in a way that this installation does not know.
    """
    consumer = LogConsumer(
        bootstrap_servers=bootstrap_servers(config.broker),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        await asyncio.sleep(0)  # stopped before its tasks have begun, it would raise CancelledError
        yield consumer
    except (KafkaError, OSError, TimeoutError) as error:
        raise told(error, config.broker, doing) from error
    finally:
        await consumer.stop()


async def places(consumer: LogConsumer, topic: str) -> list[TopicPartition]:
    """The partitions of a topic. Raises `NotInLog` if there is none of that name."""
    return await consumer.places(topic)


async def starts_since(
    consumer: LogConsumer, partitions: Sequence[TopicPartition], at_ms: int
) -> dict[TopicPartition, int]:
    """Of each partition that has records since then, the offset of the first one that it still keeps.

    The embedded broker goes by when records arrived, and of a batch answers the first: what is older may come along,
    and is for the caller to leave out. For a time after all of them it answers no time.
    """
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(0, at_ms)))
    firsts = await consumer.beginning_offsets(partitions)
    # Some brokers answer with an offset from before the beginning.
    return {place: max(at.offset, firsts[place]) for place, at in found.items() if at is not None and at.timestamp >= 0}


async def records_of(consumer: LogConsumer, starts: dict[TopicPartition, int]) -> AsyncGenerator[Any, None]:
    """The records from these offsets up to the present ends, in batches of one partition.

    A partition that the caller pauses is left alone. Some brokers tell their ends only with the records themselves.

    Raises:
        TimeoutError: nothing comes, though there is more.
    """
    if not starts:
        return
    ends, in_vain = await consumer.end_offsets(list(starts)), 0
    consumer.assign(list(starts))
    for place, offset in starts.items():
        consumer.seek(place, offset)
    while in_vain < POLLS_IN_VAIN:
        polled = await consumer.getmany(timeout_ms=PATIENCE_MS, max_records=POLLED_MOST)
        for records in polled.values():
            yield records
        in_vain = 0 if polled else in_vain + 1
        reading_on = [place for place in starts if place not in consumer.paused()]
        positions = {place: await consumer.position(place) for place in reading_on}
        at_end = all(at >= max(ends[place], consumer.highwater(place) or 0) for place, at in positions.items())
        if at_end and (not polled or len(reading_on) < 2):
            return
    raise TimeoutError
