"""From fetched records to batches: what has come of a partition is worked on together, and acknowledged in order.

Whatever has arrived while a batch was being worked on makes up the next one, so batches are as small as the load
allows, and nothing waits for a batch to fill.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

from alto_streams.errors import Fenced
from alto_streams.log.handover import Fetched, Giver
from alto_streams.parts import Backoff
from alto_streams.worker.app import App

log = logging.getLogger(__name__)

BATCH = 256


class Polled(NamedTuple):
    """A record as it was polled; times in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    value: bytes
    key: str = ""


Handle = Callable[[int, list[Polled]], Awaitable[None]]


class Pump:
    """Feeds `handle(partition, batch)`, one batch at a time per partition, and acknowledges a batch once it returns.

    No batch of a partition is begun before the one in front of it is done: a row that had taken a later record would
    never take the earlier one when that came again. So a batch that was `Fenced` is tried again until the group has
    another generation; what an older one has delivered is left out, since it is delivered again, here or elsewhere.

    `broken` gets what `handle` raised, other than `Fenced`; nothing is begun then.
    """

    def __init__(self, handle: Handle, giver: Giver, at_most: int = 2048) -> None:
        self._handle, self._giver, self._at_most = handle, giver, at_most
        self._waiting: dict[int, deque[tuple[int, Polled]]] = {}  # with the generation that each came under
        self._working: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self.held = 0
        self.broken: asyncio.Future[None] = self._loop.create_future()

    def is_full(self, topic: str) -> bool:
        """Whether as many records wait or are worked on as may be."""
        return self.held >= self._at_most

    def take(self, generation: int, records: Sequence[Fetched]) -> None:
        """Records of one partition, to be worked on behind those that it has given before."""
        partition = records[0].partition
        waiting = self._waiting.setdefault(partition, deque())
        waiting.extend((generation, polled_of(record)) for record in records)
        self.held += len(records)
        if partition not in self._working and not self.broken.done():
            self._working[partition] = self._loop.create_task(self._drain(partition))

    async def stop(self) -> None:
        """Give up what is being worked on: its records are unacknowledged and come again."""
        working = list(self._working.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def _drain(self, partition: int) -> None:
        waiting = self._waiting[partition]
        try:
            while waiting:
                generation = waiting[0][0]
                same = takewhile(lambda one: one[0] == generation, islice(waiting, BATCH))  # noqa: B023
                batch = [each for _, each in same]
                for _ in batch:
                    waiting.popleft()
                try:
                    await self._finish(partition, generation, batch)
                finally:
                    self._let_go(len(batch))
        except Exception as error:
            log.exception("partition %d cannot go on", partition)
            if not self.broken.done():
                self.broken.set_exception(error)
        finally:
            del self._working[partition]

    async def _finish(self, partition: int, generation: int, batch: list[Polled]) -> None:
        backoff = Backoff()
        while generation == self._giver.generation:
            try:
                await self._handle(partition, batch)
            except Fenced as error:
                # Another worker may own the partition, as the next generation will tell; or only a heartbeat was late,
                # and nobody else would ever get these records.
                wait_s = backoff.next_s()
                log.warning("%d records of partition %d wait %.1f s: %s", len(batch), partition, wait_s, error)
                await asyncio.sleep(wait_s)
            else:
                self._giver.finished(batch[0].topic, partition, [each.offset for each in batch], generation)
                return

    def _let_go(self, count: int) -> None:
        was_full = self.held >= self._at_most
        self.held -= count
        if was_full:
            self._giver.wake()


def polled_of(record: Fetched) -> Polled:
    """The record as handlers get it. Our topics have no tombstones: one is an empty record, which nothing can read."""
    key = (record.key or b"").decode(errors="replace")
    return Polled(record.topic, record.partition, record.offset, record.timestamp, record.value or b"", key)


def pumped(app: App, topic: str, handle: Callable[[int, list[Polled]], Any]) -> None:
    """Hands the records of a topic to `handle`, in batches, and acknowledges what it returns from."""

    async def work() -> None:
        pump = Pump(handle, app.consumer)
        try:
            with app.consumer.feeding([topic], pump):
                await pump.broken
        finally:
            await pump.stop()

    app.feed([topic], work)
