"""Virtual time: what happens next, and the logs that carry records from one part to another."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

EPOCH_MS = 1_767_225_600_000  # every simulation begins with the year 2026
Happens = Callable[..., object]
Reader = Callable[[int, int, int, bytes], object]
"""Takes a record: (partition, offset, the time of its append in ms since the epoch, value)."""


class Clock:
    """Lets things happen in the order of their times, and at one moment in the order in which they were set."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, bool, int, Happens, tuple[Any, ...]]] = []
        self._beats = 0  # of the events, those that come by themselves
        self._ready: deque[tuple[Happens, tuple[Any, ...]]] = deque()
        self._order = 0

    @property
    def now_ms(self) -> int:
        """As a record's time."""
        return EPOCH_MS + int(self.now_s * 1000)

    def soon(self, happens: Happens, *args: Any) -> None:
        """At this moment, after what is set for it already."""
        self._ready.append((happens, args))

    def at(self, at_s: float, happens: Happens, *args: Any, last: bool = False) -> None:
        """At this time, or at once if it has passed. `last`: after everything else of its moment."""
        self._order += 1
        heapq.heappush(self._events, (max(at_s, self.now_s), last, self._order, happens, args))

    def every(self, period_s: float, happens: Happens) -> None:
        """From now on, again and again; but that alone is not taken for something that is left to happen."""

        def beat() -> None:
            self._beats -= 1
            happens()
            begin()

        def begin() -> None:
            self._beats += 1
            self.at(self.now_s + period_s, beat)

        self.soon(happens)
        begin()

    def run(self, until: Callable[[], object]) -> bool:
        """Let things happen until this is so. False: nothing is left to happen, and it is not."""
        ready, events = self._ready, self._events
        while not until():
            if ready:
                happens, args = ready.popleft()
            elif len(events) > self._beats:
                self.now_s, _, _, happens, args = heapq.heappop(events)
            else:
                return False
            happens(*args)
        return True

    def clear(self) -> None:
        """Let nothing of what is set happen."""
        self._events.clear()
        self._ready.clear()
        self._beats = 0


class Logs:
    """Every topic's partitions. What is appended reaches the topic's reader `hop_s` later, in order."""

    def __init__(self, clock: Clock, hop_s: float) -> None:
        self._clock, self._hop_s = clock, hop_s
        self._readers: dict[str, Reader] = {}
        self._ends: dict[tuple[str, int], int] = {}

    def read(self, topic: str, reader: Reader) -> None:
        """Deliver a topic's records to this reader; those of topics without one are dropped."""
        self._readers[topic] = reader

    def append(self, topic: str, value: bytes, partition: int = 0) -> None:
        """Put a record at the end of a partition."""
        reader = self._readers.get(topic)
        if reader is None:
            return
        offset = self._ends.get((topic, partition), 0)
        self._ends[topic, partition] = offset + 1
        record = (partition, offset, self._clock.now_ms, value)
        if self._hop_s:
            self._clock.at(self._clock.now_s + self._hop_s, reader, *record)
        else:
            self._clock.soon(reader, *record)
