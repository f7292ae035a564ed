"""Which partition of its work topic a work item goes to: what a home asks, and the answer that needs to know nothing.

In turn is as good as the shortest queue where engines are alike and one stage's calls are of like length: by the model
of the reference workload's limit it costs nothing, where a hash costs 4 to 7 % of the mean latency.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from alto_streams.wire.plans import Receipt
from alto_streams.wire.records import Call

GOLDEN = (math.sqrt(5) - 1) / 2


class Ask(NamedTuple):
    """An attempt that is about to be dispatched. `at_ms`: the log's time. `written`: characters of its prefix."""

    stage: str
    request: str
    path: str
    attempt: int
    call: Call
    written: int = 0
    at_ms: int = 0
    deadline_ms: int | None = None


class Placed(NamedTuple):
    """The partition, and why, if there is more to say than that it was its turn."""

    partition: int
    receipt: Receipt | None = None


class Placing(Protocol):
    """Decides where work items go: all that a plan may decide. It may forget everything at any time."""

    def place(self, ask: Ask) -> Placed: ...

    def over(self, request: str, path: str) -> None:
        """The open attempt of the call, if it has one, has ended: it holds its engine no longer."""

    def forget(self, request: str) -> None:
        """So have all calls of the request."""


class InTurn:
    """Every partition of each stage's topic in turn. `partitions`: how many, by stage."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._turns = {stage: in_turn(count) for stage, count in partitions.items()}

    def place(self, ask: Ask) -> Placed:
        return Placed(next(self._turns[ask.stage]))

    def over(self, request: str, path: str) -> None:
        """Nothing is held."""

    def forget(self, request: str) -> None:
        """Nothing is held."""


def in_turn(partitions: int) -> Iterator[int]:
    """Every partition in turn, for ever; neighbours often have one owner, so they are apart."""
    stride = next(n for n in _around(round(partitions * GOLDEN)) if math.gcd(n, partitions) == 1)
    at = 0
    while True:
        yield at
        at = (at + stride) % partitions


def _around(middle: int) -> Iterator[int]:
    for distance in range(middle + 1):
        yield middle - distance
        yield middle + distance
    yield 1
