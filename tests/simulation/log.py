"""A simulated log: topics of partitions of records, appended in one order, each with the virtual time of its append."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple


class Appended(NamedTuple):
    """A record as a consumer polls it."""

    offset: int
    at_ms: int
    key: str
    value: bytes


class Log:
    """Every topic has the same number of partitions; nothing is ever lost or compacted."""

    def __init__(self, partitions: int, now_ms: Callable[[], int]) -> None:
        self.partitions = partitions
        self._now_ms = now_ms
        self._records: dict[tuple[str, int], list[Appended]] = {}
        self._readers: dict[tuple[str, int], Callable[[], None]] = {}

    def partition_of(self, key: str) -> int:
        """The partition that a key's records go to."""
        return zlib.crc32(key.encode()) % self.partitions

    def append(self, topic: str, key: str, value: bytes, partition: int | None = None) -> None:
        """Append, and wake whoever reads this partition."""
        place = (topic, self.partition_of(key) if partition is None else partition)
        records = self._records.setdefault(place, [])
        records.append(Appended(len(records), self._now_ms(), key, value))
        wake = self._readers.get(place)
        if wake is not None:
            wake()

    def read(self, topic: str, partition: int, position: int, at_most: int) -> list[Appended]:
        """The records from `position` on."""
        return self._records.get((topic, partition), [])[position : position + at_most]

    def all_of(self, topic: str) -> list[Appended]:
        """Everything in a topic, partition by partition."""
        return [each for partition in range(self.partitions) for each in self._records.get((topic, partition), [])]

    def subscribe(self, topic: str, partition: int, wake: Callable[[], None]) -> None:
        """Call `wake` at each append."""
        self._readers[topic, partition] = wake
