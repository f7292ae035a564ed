"""Dead letters: how one is made of a record that can never succeed.

A letter says where its record stands, who could not use it and why, and carries the record itself with its key, so that
it can be sent once more. What failed within a request, a child with its cause, is a letter without a record: the state
machines make those.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry, Counter

from alto_streams.errors import Poison
from alto_streams.log.sender import Out
from alto_streams.wire.paths import parse_path
from alto_streams.wire.records import DeadLetter, encode
from alto_streams.wire.request_ids import created_ms
from alto_streams.wire.topic_names import dead_letters_topic

RECORD_MOST = 500_000  # bytes; it grows by a third within its letter, which must be sendable whatever it is about


class Origin(Protocol):
    """A record as it was polled."""

    @property
    def partition(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def value(self) -> bytes: ...

    @property
    def key(self) -> str: ...


class _Named(msgspec.Struct):
    """What most records say of themselves, whatever else is wrong with them."""

    request: str = ""
    id: str = ""
    path: str = ""


_named = msgspec.json.Decoder(_Named)


class LetterCounts:
    """Counts dead letters by the part that writes them, as `<pipeline>.<stage>`, and by cause (of a closed set)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._written = Counter("alto_dead_letters", "Dead letters written", ["stage", "cause"], registry=registry)

    def count(self, stage: str, cause: str) -> None:
        """One is written."""
        self._written.labels(stage, cause).inc()


def letter_of(pipeline: str, stage: str, topic: str, origin: Origin, cause: str, *, carried: bool = True) -> Out:
    """The letter of a polled record, to be sent. Names its request and path where they can be read.

    `carried`: whether it takes the record along; one that would make the letter too large to be sent is left out.
    """
    request = path = ""
    with contextlib.suppress(msgspec.MsgspecError):
        named = _named.decode(origin.value)
        request, path = _request(named.request) or _request(named.id), _path(named.path)
    record = origin.value if carried else b""
    if len(record) > RECORD_MOST:
        cause, record = f"{cause} (its record of {len(record)} bytes is left out)", b""
    at = (topic, origin.partition, origin.offset)
    letter = DeadLetter(cause, stage, request or _request(origin.key), path, *at, record=record, key=origin.key)
    return Out(dead_letters_topic(pipeline), None, encode(letter))


def _request(text: str) -> str:
    try:
        created_ms(text)
    except Poison:
        return ""
    return text


def _path(text: str) -> str:
    try:
        parse_path(text)
    except Poison:
        return ""
    return text
