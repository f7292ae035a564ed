"""Records that a reader of the log's tail has been shown too late (pure but for the clock that it is given).

Tansu may show the record at offset 8 before the one at 7, where two producers append to one partition at once: a reader
that takes 8 and goes on has lost 7 for good (seen: 5 to 13 of 24,000 records). Its log keeps all records and numbers
them without holes, so a hole in what was fetched means that the rest has to be fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import Generic, Protocol, TypeVar

PATIENCE_S = 2.0


class Fetched(Protocol):
    """A record with its place."""

    @property
    def offset(self) -> int: ...


TP = TypeVar("TP", bound=Hashable)
R = TypeVar("R", bound=Fetched)


class Holes(Generic[TP]):
    """Remembers how long each partition has shown a hole; one that stays is one (the head of the log was deleted)."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: dict[TP, tuple[int, float]] = {}

    def before_hole(self, tp: TP, position: int | None, records: Sequence[R]) -> tuple[Sequence[R], int | None]:
        """The records up to the first hole, and the offset to fetch again from; None where there is no hole.

        `position`: the offset that the fetch began at, None if it is not known.
        """
        expected = records[0].offset if position is None else position
        for index, record in enumerate(records):
            if record.offset > expected and self._may_fill(tp, expected):
                return records[:index], expected
            expected = record.offset + 1
        self._since.pop(tp, None)
        return records, None

    def _may_fill(self, tp: TP, offset: int) -> bool:
        known = self._since.get(tp)
        if known is None or known[0] != offset:
            known = self._since[tp] = (offset, self._clock())
        return self._clock() - known[1] < PATIENCE_S
