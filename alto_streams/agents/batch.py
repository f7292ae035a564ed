"""What one batch of home records has done so far, row by row, before and while it is carried out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from alto_streams.records import HomeRecord
from alto_streams.tables.outputs import At
from alto_streams.tables.rows import Instruction


@dataclass(slots=True)
class Batch:
    """By row: the records applied, what they ask for, and outboxes to send again."""

    applied: dict[str, list[tuple[HomeRecord, At]]] = field(default_factory=dict)
    decided: dict[str, list[Instruction]] = field(default_factory=dict)
    again: dict[str, list[Instruction]] = field(default_factory=dict)

    def has_in_hand(self, key: str) -> bool:
        """Whether the batch is not done with this row: nobody else may take it away."""
        return key in self.decided or key in self.again
