"""A record's turn at its home: the row that it may change, where it stands in the log, and what follows. Pure."""

from __future__ import annotations

import msgspec

from alto_streams.tables.decisions import Cause, Decision, Did
from alto_streams.tables.rows import Instruction, Row
from alto_streams.wire.records import Status


class At(msgspec.Struct, frozen=True):
    """Where a record stands in the log, and when it was appended."""

    topic: str
    partition: int
    offset: int
    at_ms: int


class Turn:
    """One record and the row of its request. Whoever decides something changes the row, and adds to the two lists.

    `asked`: what the home is to do, in this order. `decided`: what was decided about which call, and why.
    """

    __slots__ = ("asked", "at", "decided", "request", "row")

    def __init__(self, row: Row, request: str, at: At) -> None:
        self.row, self.request, self.at = row, request, at
        self.asked: list[Instruction] = []
        self.decided: list[Decision] = []

    def decide(
        self,
        did: Did,
        path: str,
        attempt: int,
        cause: Cause | None = None,
        why: str | None = None,
        status: Status | None = None,
        *,
        trace: str = "",
    ) -> None:
        """Note a decision about the call at `path`."""
        self.decided.append(Decision(did, path, attempt, cause, why or "", status, trace))
