"""In which order the log has to acknowledge what a batch of records has asked for."""

from __future__ import annotations

from alto_streams.log.sender import Out
from alto_streams.tables.rows import Send


def in_order(sends: list[Send], results: str) -> list[list[Out]]:
    """The records in the order of their acknowledgement: where there are events for the client (`results` is their
    topic), those that may end the request wait for them. Partitions keep no order among one another."""
    if any(each.topic == results for each in sends):
        parts = [[each for each in sends if not each.last], [each for each in sends if each.last]]
    else:
        parts = [sends]
    return [[_out(each) for each in part] for part in parts if part]


def _out(send: Send) -> Out:
    return Out(send.topic, send.key.encode() if send.key else None, bytes(send.record), send.partition)
