"""Reads topics without a group: to their end before anything is done that depends on them, and then on and on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka.errors import KafkaError

from alto_streams.errors import Poison
from alto_streams.log.consumer import LogConsumer
from alto_streams.parts import Backoff, bootstrap_servers
from alto_streams.settings import Settings

log = logging.getLogger(__name__)

QUIET_WAIT_MS = 5_000
WOKEN_MS = 100

NewConsumer = Callable[[], LogConsumer]


class LogReader:
    """Hands every record of some topics to `take`, and calls `polled` after those of each poll.

    It begins at the beginning, again and again should that be needed: `take` may hear a record twice. One that raises
    `Poison` is logged and left out.
    """

    def __init__(
        self,
        new_consumer: NewConsumer,
        topics: Sequence[str],
        take: Callable[[Any], None],
        polled: Callable[[], None] = lambda: None,
    ) -> None:
        self._new_consumer, self._topics, self._take, self._polled = new_consumer, topics, take, polled
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Read in the background, from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read())

    async def start(self) -> None:
        """Read the topics to their end, then go on reading in the background."""
        self.begin()
        await self._caught_up.wait()

    async def stop(self) -> None:
        """Stop reading."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _read(self) -> None:
        backoff = Backoff()
        while True:
            consumer = self._new_consumer()
            try:
                await consumer.start()
                await self._follow(consumer)
            except Exception as error:  # whatever it is: nobody else would read this any more
                wait_s = backoff.next_s()
                names = ", ".join(self._topics)
                log.warning("%s cannot be read, trying again in %.1f s: %r", names, wait_s, error)
                await asyncio.sleep(wait_s)
            finally:
                with contextlib.suppress(KafkaError, OSError):
                    await consumer.stop()

    async def _follow(self, consumer: LogConsumer) -> None:
        tps = [tp for topic in self._topics for tp in await consumer.places(topic)]
        # Asked before anything is assigned: behind a fetch that waits for records, the answers would wait as long.
        positions, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        consumer.assign(tps)
        for tp in tps:
            consumer.seek(tp, positions[tp])
        while any(positions[tp] < ends[tp] for tp in tps):
            await self._poll(consumer, timeout_ms=200)
            positions = {tp: await consumer.position(tp) for tp in tps}
        self._caught_up.set()
        while True:
            await self._poll(consumer, timeout_ms=10_000)

    async def _poll(self, consumer: LogConsumer, timeout_ms: int) -> None:
        polled = await consumer.getmany(timeout_ms=timeout_ms)
        for records in polled.values():
            for record in records:
                try:
                    self._take(record)
                except Poison as error:
                    log.warning(
                        "unreadable record at %s-%d@%d: %s", record.topic, record.partition, record.offset, error
                    )
        self._polled()


def consumers(settings: Settings) -> NewConsumer:
    """Makes consumers of no group.

    What they read is quiet, so where a waiting fetch is woken by a record they wait long. A short wait in the settings
    says that it is not: such a broker has to be asked.
    """
    wait_ms = settings.fetch_max_wait_ms
    wait_ms = QUIET_WAIT_MS if wait_ms >= WOKEN_MS else wait_ms

    def new_consumer() -> LogConsumer:
        return LogConsumer(
            bootstrap_servers=bootstrap_servers(settings.broker),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=wait_ms,
        )

    return new_consumer
