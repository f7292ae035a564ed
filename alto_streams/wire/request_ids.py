"""Request ids: UUIDv7, so that an id alone says when its request was made (RFC 9562)."""

from __future__ import annotations

import uuid
from functools import lru_cache

import uuid_utils.compat

from alto_streams.errors import Poison


def new_request_id() -> str:
    """A fresh id, of now."""
    return str(uuid_utils.compat.uuid7())


def request_id_at(at_ms: int, number: int) -> str:
    """The id of the request with this number, made at `at_ms` since the epoch; always the same one.

    Raises:
        ValueError: the number is negative, or has more than 62 bits.
    """
    if not 0 <= number < 1 << 62:
        raise ValueError(f"{number} is no number of a request: from 0 to 2^62 - 1")
    return str(uuid.UUID(int=at_ms << 80 | 0x7 << 76 | 0b10 << 62 | number))


def first_id_at(at_ms: int) -> str:
    """What no id that was made from then on stands before, as text: all of a UUIDv7 that is time."""
    return str(uuid.UUID(int=at_ms << 80))


@lru_cache(maxsize=4_096)
def created_ms(request: str) -> int:
    """When a request was made, in milliseconds since the epoch. Raises `Poison` if this is no UUIDv7."""
    try:
        parsed = uuid.UUID(request)
    except ValueError:
        raise Poison("the request id is no UUID") from None
    if parsed.version != 7:
        raise Poison("the request id is no UUIDv7")
    return parsed.int >> 80
