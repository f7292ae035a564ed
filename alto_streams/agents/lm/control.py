"""Reads the `control` topics without a group: what is over, so that no worker begins it or goes on with it.

A worker reads them to their end before its first work item. What it remembers is bounded by the topics' retention.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from alto_streams.log.tail import LogReader, NewConsumer, consumers
from alto_streams.settings import Settings
from alto_streams.wire.paths import covers
from alto_streams.wire.records import Cancelled, ControlRecord, Ended, Work, decoder
from alto_streams.wire.topic_names import control_topic

_decode: Callable[[bytes], ControlRecord] = decoder(ControlRecord)  # type: ignore[arg-type]

Over = Callable[[ControlRecord], None]


class ControlLog:
    """What is over, remembered for `keep_s`."""

    def __init__(self, new_consumer: NewConsumer, topics: list[str], keep_s: float) -> None:
        self._reader = LogReader(new_consumer, topics, self._take, self._forget_old)
        self._keep_s = keep_s
        self._on_over: Over = lambda record: None
        self._ended: dict[tuple[str, str, str], int] = {}
        self._cancelled: dict[str, list[Cancelled]] = {}
        self._ages: deque[tuple[float, ControlRecord]] = deque()

    @classmethod
    def of(cls, settings: Settings, pipelines: list[str]) -> ControlLog:
        """The control log of some pipelines."""
        return cls(consumers(settings), [control_topic(name) for name in pipelines], settings.control_keep_s)

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._ages)

    def is_over(self, work: Work) -> bool:
        """Whether this attempt, its call or a scope above it has ended."""
        if self._ended.get((work.request, work.stage, work.path), -1) >= work.attempt:
            return True
        scopes = self._cancelled.get(work.request, ())
        return any(covers(scope, work.request, work.stage, work.path, work.attempt) for scope in scopes)

    def listen(self, on_over: Over) -> None:
        """`on_over` hears every record as it is read."""
        self._on_over = on_over

    async def start(self) -> None:
        """Read the topics to their end, then go on reading in the background."""
        await self._reader.start()

    async def stop(self) -> None:
        """Stop reading."""
        await self._reader.stop()

    def _take(self, record: Any) -> None:
        self._apply(_decode(record.value or b""), record.timestamp / 1000)

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
        self._on_over(record)

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
