"""The bytes of a row as the changelog keeps them: of a finished request no more than how it ended. Pure.

A marker is kept until the horizon, so there are many of them. Where the row stands in its partition is kept beside the
value (`merge`), so it is left out here.
"""

from __future__ import annotations

import msgspec

from alto_streams.tables.rows import Row, decode_row, encode_row
from alto_streams.wire.records import Status

_markers = {status: msgspec.json.encode(status) for status in Status}  # each once in memory: there are many
_decoder = msgspec.json.Decoder(Status)


def encode_stored(row: Row) -> bytes:
    """The bytes of a row; of one that is finished only its status."""
    if row.finished is not None:
        return _markers[row.finished]
    return encode_row(row)


def is_marker(value: bytes) -> bool:
    """Whether these are the bytes of a marker."""
    return value.startswith(b'"')


def decode_stored(value: bytes, offset: int) -> Row:
    """The row of its bytes, as of the source record at `offset`."""
    if is_marker(value):
        return Row(offset=offset, finished=_decoder.decode(value))
    return decode_row(value)
