"""What one batch of home records has done so far, row by row, before and while it is carried out."""

from __future__ import annotations

from dataclasses import dataclass, field

from alto_streams.records import HomeRecord
from alto_streams.sender import Out
from alto_streams.tables.outputs import At
from alto_streams.tables.rows import Instruction, Send


@dataclass(slots=True)
class Batch:
    """By row: the records applied, what they ask for, and outboxes to send again."""

    applied: dict[str, list[tuple[HomeRecord, At]]] = field(default_factory=dict)
    decided: dict[str, list[Instruction]] = field(default_factory=dict)
    again: dict[str, list[Instruction]] = field(default_factory=dict)

    def has_in_hand(self, key: str) -> bool:
        """Whether the batch is not done with this row: nobody else may take it away."""
        return key in self.decided or key in self.again


def waves(sends: list[Send], results: str) -> list[list[Out]]:
    """The records in the order of their acknowledgement: where there are events for the client (`results` is their
    topic), those that may end the request wait for them. Partitions keep no order among one another."""
    if any(each.topic == results for each in sends):
        parts = [[each for each in sends if not each.last], [each for each in sends if each.last]]
    else:
        parts = [sends]
    return [[_out(each) for each in part] for part in parts if part]


def _out(send: Send) -> Out:
    return Out(send.topic, send.key.encode() if send.key else None, bytes(send.record), send.partition)
