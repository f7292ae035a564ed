"""A record's turn at its home: the row that it may change, where it stands in the log, and what follows. Pure."""

from __future__ import annotations

import msgspec

from alto_streams.tables.rows import Instruction, Row


class At(msgspec.Struct, frozen=True):
    """Where a record stands in the log, and when it was appended."""

    topic: str
    partition: int
    offset: int
    at_ms: int


class Turn:
    """One record and the row of its request. Whoever decides something changes the row and adds to `asked`.

    `asked`: what the home is to do, in this order.
    """

    __slots__ = ("asked", "at", "request", "row")

    def __init__(self, row: Row, request: str, at: At) -> None:
        self.row, self.request, self.at = row, request, at
        self.asked: list[Instruction] = []
