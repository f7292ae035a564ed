"""How fetched records come to what works on them: whole batches, without Faust's streams in between (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol


class Fetched(Protocol):
    """A record as aiokafka has it; its time in milliseconds since the epoch."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Taker(Protocol):
    """What records of some topics are handed to."""

    @property
    def held(self) -> int:
        """How many records it has taken and has neither finished nor given up."""

    def is_full(self, topic: str) -> bool:
        """Whether it wants no more of a topic for now. It tells its giver once that is over."""

    def take(self, generation: int, records: Sequence[Fetched]) -> None:
        """Records of one partition, in their order, under this generation of the consumer group."""


class Giver(Protocol):
    """What hands records over, in the same event loop."""

    @property
    def generation(self) -> int:
        """The consumer group's. What an older one has handed over is handed over again, here or elsewhere."""

    def finished(self, topic: str, partition: int, offsets: Iterable[int], generation: int) -> None:
        """These records are done with: in any order, and once each."""

    def wake(self) -> None:
        """A taker that was full is no longer."""
