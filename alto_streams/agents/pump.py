"""From a Faust stream to batches: takes what has been polled, partition by partition, and acknowledges it in order.

Faust hands records out one at a time. Whatever has arrived while a batch was being worked on makes up the next one, so
batches are as small as the load allows, and nothing waits for a batch to fill.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from alto_streams.errors import Fenced
from alto_streams.parts import Backoff

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
    """

    def __init__(self, handle: Handle, at_most: int = 2048) -> None:
        self._handle, self._at_most = handle, at_most
        self._waiting: dict[int, deque[Any]] = {}
        self._working: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Condition()
        self._held = 0
        self._generation: Callable[[], int] = lambda: 0
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stream: Any) -> None:
        """The body of a Faust agent. `broken` gets what `handle` raised, other than `Fenced`; nothing is begun then."""
        self._generation = lambda: int(stream.app.consumer_generation_id)
        async for event in stream.noack().events():
            async with self._room:
                await self._room.wait_for(lambda: self._held < self._at_most)
            self._held += 1
            partition = event.message.partition
            self._waiting.setdefault(partition, deque()).append(event)
            if partition not in self._working and not self.broken.done():
                self._working[partition] = asyncio.get_running_loop().create_task(self._drain(partition))

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
                events = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                try:
                    await self._finish(partition, events)
                finally:
                    await self._let_go(len(events))
        except Exception as error:
            log.exception("partition %d cannot go on", partition)
            if not self.broken.done():
                self.broken.set_exception(error)
        finally:
            del self._working[partition]

    async def _finish(self, partition: int, events: list[Any]) -> None:
        backoff = Backoff()
        while events := [event for event in events if event.message.generation_id == self._generation()]:
            try:
                await self._handle(partition, [polled_of(event.message) for event in events])
            except Fenced as error:
                # Another worker may own the partition, as the next generation will tell; or only a heartbeat was late,
                # and nobody else would ever get these records.
                wait_s = backoff.next_s()
                log.warning("%d records of partition %d wait %.1f s: %s", len(events), partition, wait_s, error)
                await asyncio.sleep(wait_s)
            else:
                for event in events:
                    event.ack()
                return

    async def _let_go(self, count: int) -> None:
        async with self._room:
            self._held -= count
            self._room.notify_all()


def polled_of(message: Any) -> Polled:
    """The record of a Faust message. Our topics have no tombstones: one is an empty record, which nothing can read."""
    key = (message.key or b"").decode(errors="replace")
    at = (message.topic, message.partition, message.offset, int(message.timestamp * 1000))
    return Polled(*at, message.value or b"", key)
