"""The way out of the log: `results.<pipeline>` -> one Redis stream per request, from which any gateway serves clients.

A stream entry's id comes from the event's offset, so writing an event again changes nothing ("id too small" means it is
already there), and a stream that was lost is rebuilt with the ids it had.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from redis.asyncio import Redis

from alto_streams.agents.egress.publisher import EVENTS_PER_CALL, PublishedEvent, Publisher
from alto_streams.parts import redacted
from alto_streams.settings import Settings
from alto_streams.wire.records import Event

log = logging.getLogger(__name__)

Replay = Callable[[int, int, int], AsyncIterator[Sequence[PublishedEvent]]]
"""`replay(partition, start, stop)`: the records of `results` from `start`, or the oldest kept, up to before `stop`."""


@dataclass
class EgressCounts:
    """What an egress has done since it started."""

    added: int = 0
    duplicates: int = 0
    rebuilds: int = 0
    read_again: int = 0


class Egress:
    """Publishes the events of one pipeline. One owner per partition of `results`; a second, stale one does no harm.

    `replay` reads `results` apart from the consumer group, so a rebuild moves no committed offset. `redis` must have
    a socket timeout, or a Redis that hangs is not noticed.
    """

    def __init__(self, redis: Redis, pipeline: str, replay: Replay, settings: Settings) -> None:
        self._publisher = Publisher(redis, pipeline, settings)
        self._pipeline = pipeline
        self._replay = replay
        self._address = redacted(settings.redis)
        self._horizon_s = settings.horizon_s
        self._confirmed: dict[int, int] = {}
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.statistics = EgressCounts()

    @property
    def waits_for(self) -> str | None:
        """A Redis that cannot be reached."""
        return self._publisher.waits_for

    @property
    def waits(self) -> int:
        """How often it has waited for Redis."""
        return self._publisher.waits

    async def publish(self, batch: Sequence[PublishedEvent]) -> None:
        """Returns when Redis has all of the batch, which may then be acknowledged; waits while Redis cannot be reached.

        Records of one partition must be in offset order. Cancelling it is safe at any time: publish the same again.
        """
        by_partition = sorted(batch, key=attrgetter("partition"))
        for partition, records in groupby(by_partition, key=attrgetter("partition")):
            await self._publish(partition, list(records))

    async def check(self, committed: Mapping[int, int]) -> None:
        """Rebuilds what Redis has lost of these partitions, each with its committed offset, though nothing new comes.

        Without it a client of a request that has ended would wait until another event comes to the same partition.
        """
        await asyncio.gather(*(self._check(partition, offset) for partition, offset in committed.items()))

    async def _check(self, partition: int, offset: int) -> None:
        floor = max(offset - 1, self._confirmed.get(partition, -1))
        if floor >= 0 and not self._locks[partition].locked():  # else it is being published, and checked, anyway
            async with self._locks[partition]:
                kept = await self._write(partition, [], floor, floor)
                if kept is not None:
                    await self._rebuild(partition, kept, stop=floor + 1)

    async def _publish(self, partition: int, records: list[PublishedEvent]) -> None:
        first, last = records[0].offset, records[-1].offset
        # What was delivered begins at the committed offset, which was committed after Redis had everything before it.
        # What this egress has confirmed itself may be from before another one owned the partition, and be less.
        floor = max(first - 1, self._confirmed.get(partition, -1))
        async with self._locks[partition]:
            while (kept := await self._write(partition, records, last, floor)) is not None:
                floor = await self._rebuild(partition, kept, stop=first)
            self._confirmed[partition] = max(last, self._confirmed.get(partition, -1))

    async def _rebuild(self, partition: int, kept: int, stop: int) -> int:
        """Redis has lost what came after offset `kept`: publishes it again up to `stop`; returns the last offset."""
        while True:
            self.statistics.rebuilds += 1
            log.warning(
                "redis at %s has lost the events of results.%s-%d after offset %d: rebuilding them up to %d",
                *(self._address, self._pipeline, partition, kept, stop),
            )
            floor = kept
            async for records in self._replay(partition, kept + 1, stop):
                self.statistics.read_again += len(records)
                alive = [record for record in records if not self._is_past(record.event)]
                lost = await self._write(partition, alive, records[-1].offset, floor)
                if lost is not None:  # again, meanwhile
                    kept = lost
                    break
                floor = max(floor, records[-1].offset)
            else:
                # What could not be read, or is past the retention, is not missed again.
                lost = await self._write(partition, [], stop - 1, floor)
                if lost is None:
                    self._confirmed[partition] = stop - 1
                    return stop - 1
                kept = lost

    def _is_past(self, event: Event) -> bool:
        """Request and event are older than the horizon: nobody can ask for it any more. An end may come later."""
        try:
            return max(UUID(event.request).int >> 80, event.at_ms) < (time.time() - self._horizon_s) * 1000
        except ValueError:
            return False

    async def _write(self, partition: int, records: Sequence[PublishedEvent], last: int, floor: int) -> int | None:
        """Publishes up to `last`; or, when Redis has less than `floor`, writes nothing and returns what it has."""
        calls = [records[at : at + EVENTS_PER_CALL] for at in range(0, len(records), EVENTS_PER_CALL)] or [[]]
        for at, part in enumerate(calls):
            upto = last if at == len(calls) - 1 else part[-1].offset
            is_written, number = await self._publisher.put(partition, part, upto, floor)
            if not is_written:
                return number
            self.statistics.added += number
            self.statistics.duplicates += len(part) - number
            floor = max(floor, upto)
        return None
