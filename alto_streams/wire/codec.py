"""How a record becomes bytes and back, and the base that all records share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from alto_streams.errors import Poison

T = TypeVar("T")


class Wire(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of everything that is part of a record."""


def encode(record: Wire) -> bytes:
    """The JSON form of a record."""
    return _encoder.encode(record)


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """A decoder for one topic's records.

    Raises `Poison` with the field at fault; the offending text itself is never part of the error.
    """
    read: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def decode(payload: bytes) -> T:
        try:
            return read.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told = re.sub(r"(['\"]).*\1", "…", str(error), flags=re.DOTALL)  # it quotes an unknown tag or enum value
            raise Poison(f"undecodable record: {told}") from None

    return decode


_encoder = msgspec.json.Encoder()
