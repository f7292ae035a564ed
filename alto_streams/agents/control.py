"""Reads the `control` topics without a group: what is over, so that no worker begins it or goes on with it.

A worker reads them to their end before its first work item. What it remembers is bounded by the topics' retention.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from alto_streams.ancestry import is_under
from alto_streams.parts import Backoff, bootstrap_servers
from alto_streams.records import Cancelled, ControlRecord, Ended, Poison, Work, decoder
from alto_streams.settings import Settings
from alto_streams.topic_names import control_topic

log = logging.getLogger(__name__)

_decode: Callable[[bytes], ControlRecord] = decoder(ControlRecord)  # type: ignore[arg-type]

Over = Callable[[ControlRecord], None]


def covers(record: ControlRecord, request: str, stage: str, path: str, attempt: int) -> bool:
    """Whether this says that an attempt, its call or a scope above it is over."""
    match record:
        case Ended():
            ended = (record.request, record.stage, record.path)
            return ended == (request, stage, path) and record.attempt >= attempt
        case Cancelled():
            is_meant = not record.stages or stage in record.stages
            return record.request == request and is_meant and is_under(path, record.path)


class ControlLog:
    """What is over, remembered for `keep_s`. Whoever sets `on_over` hears every record as it is read."""

    def __init__(self, new_consumer: Callable[[], AIOKafkaConsumer], topics: list[str], keep_s: float) -> None:
        self._new_consumer, self._topics, self._keep_s = new_consumer, topics, keep_s
        self.on_over: Over = lambda record: None
        self._ended: dict[tuple[str, str, str], int] = {}
        self._cancelled: dict[str, list[Cancelled]] = {}
        self._ages: deque[tuple[float, ControlRecord]] = deque()
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings, pipelines: list[str]) -> ControlLog:
        """The control log of some pipelines."""

        def new_consumer() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                bootstrap_servers=bootstrap_servers(settings.broker),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=settings.fetch_max_wait_ms,
            )

        return cls(new_consumer, [control_topic(name) for name in pipelines], settings.control_keep_s)

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._ages)

    def is_over(self, work: Work) -> bool:
        """Whether this attempt, its call or a scope above it has ended."""
        if self._ended.get((work.request, work.stage, work.path), -1) >= work.attempt:
            return True
        scopes = self._cancelled.get(work.request, ())
        return any(covers(scope, work.request, work.stage, work.path, work.attempt) for scope in scopes)

    async def start(self) -> None:
        """Read the topics to their end, then go on reading in the background."""
        self._task = asyncio.get_running_loop().create_task(self._read())
        await self._caught_up.wait()

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _read(self) -> None:
        backoff = Backoff()
        while True:
            consumer = self._new_consumer()
            try:
                await consumer.start()
                await self._follow(consumer)
            except Exception as error:  # whatever it is: without this reader nothing could be cancelled any more
                wait_s = backoff.next_s()
                log.warning("control topics cannot be read, trying again in %.1f s: %r", wait_s, error)
                await asyncio.sleep(wait_s)
            finally:
                with contextlib.suppress(KafkaError, OSError):
                    await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        tps = [TopicPartition(t, p) for t in self._topics for p in consumer.partitions_for_topic(t) or {0}]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        while not self._caught_up.is_set():
            await self._take(consumer, timeout_ms=200)
            positions = [await consumer.position(tp) for tp in tps]
            if all(position >= ends[tp] for tp, position in zip(tps, positions, strict=True)):
                self._caught_up.set()
        while True:
            await self._take(consumer, timeout_ms=10_000)

    async def _take(self, consumer: AIOKafkaConsumer, timeout_ms: int) -> None:
        polled = await consumer.getmany(timeout_ms=timeout_ms)
        for records in polled.values():
            for record in records:
                try:
                    self._apply(_decode(record.value or b""), record.timestamp / 1000)
                except Poison as error:
                    log.warning("control record at %s-%d@%d: %s", record.topic, record.partition, record.offset, error)
        self._forget_old()

    def _apply(self, record: ControlRecord, at_s: float) -> None:
        match record:
            case Ended(request, stage, path, attempt):
                key = (request, stage, path)
                is_new = attempt > self._ended.get(key, -1)
                if is_new:
                    self._ended[key] = attempt
            case Cancelled(request):
                scopes = self._cancelled.setdefault(request, [])
                is_new = record not in scopes
                if is_new:
                    scopes.append(record)
        if is_new:  # a reader that begins again hears all of it again
            self._ages.append((at_s, record))
        self.on_over(record)

    def _forget_old(self) -> None:
        oldest = time.time() - self._keep_s
        while self._ages and self._ages[0][0] < oldest:
            match self._ages.popleft()[1]:
                case Ended(request, stage, path, attempt):
                    if self._ended.get((request, stage, path)) == attempt:
                        del self._ended[request, stage, path]
                case Cancelled(request) as scope:
                    scopes = self._cancelled[request]
                    scopes.remove(scope)
                    if not scopes:
                        del self._cancelled[request]
