"""A simulated log: topics of partitions of records, appended in one order, each with the virtual time of its append."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import NamedTuple


class Appended(NamedTuple):
    """A record as a consumer polls it."""

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None


Place = tuple[str, int]
"""(topic, partition)"""


class Log:
    """Every topic has the same number of partitions, but for those that are read without keys, which have one."""

    def __init__(self, partitions: int, now_ms: Callable[[], int]) -> None:
        self.partitions = partitions
        self._now_ms = now_ms
        self._records: dict[Place, list[Appended]] = {}
        self._readers: dict[Place, dict[object, Callable[[Place], None]]] = {}

    def place_of(self, topic: str, key: bytes | None, partition: int | None) -> Place:
        """Where a record goes: to its partition, or to that of its key."""
        if partition is None:
            partition = 0 if key is None else zlib.crc32(key) % self.partitions
        return topic, partition

    def append(self, place: Place, key: bytes | None, value: bytes | None) -> None:
        """Append, and wake whoever reads this partition."""
        records = self._records.setdefault(place, [])
        records.append(Appended(len(records), self._now_ms(), key, value))
        for wake in list(self._readers.get(place, {}).values()):
            wake(place)

    def read(self, place: Place, position: int, at_most: int) -> list[Appended]:
        """The records from `position` on."""
        return self._records.get(place, [])[position : position + at_most]

    def end(self, place: Place) -> int:
        """The offset after the last record."""
        return len(self._records.get(place, ()))

    def all_of(self, topic: str) -> list[Appended]:
        """Everything in a topic, partition by partition."""
        return [each for partition in range(self.partitions) for each in self._records.get((topic, partition), [])]

    def topics(self) -> list[str]:
        """Every topic that has records."""
        return sorted({topic for topic, _ in self._records})

    def compacted(self, place: Place, rng: random.Random) -> list[Appended]:
        """What is left after compaction of some stretch at the log's head: of each key there the last record."""
        records = self._records.get(place, [])
        clean = rng.randint(0, len(records))
        last = {each.key: each.offset for each in records[:clean]}
        return [each for each in records[:clean] if last[each.key] == each.offset] + records[clean:]

    def follow(self, place: Place, reader: object, wake: Callable[[Place], None]) -> None:
        """Call `wake` at each append."""
        self._readers.setdefault(place, {})[reader] = wake

    def unfollow(self, reader: object) -> None:
        """This reader is gone."""
        for readers in self._readers.values():
            readers.pop(reader, None)
