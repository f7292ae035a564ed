"""In which order the log has to acknowledge what a batch of records has asked for."""

from __future__ import annotations

from alto_streams.log.sender import Out
from alto_streams.tables.instructions import in_waves
from alto_streams.tables.rows import Send


def in_order(sends: list[Send], results: str) -> list[list[Out]]:
    """The records in the order of their acknowledgement (`in_waves`); `results`: the topic of the client's events."""
    return [[_out(each) for each in wave] for wave in in_waves(sends, results)]


def _out(send: Send) -> Out:
    return Out(send.topic, send.key.encode() if send.key else None, bytes(send.record), send.partition)
