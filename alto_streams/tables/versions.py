"""The rows of one partition, merged from the generations of its owners (pure).

The changelog is compacted, and compaction keeps the *last* record of a key. So the changelog's key is (row key, group
generation): a zombie's late write, made under an older generation, can never replace its successor's. Reading the
changelog back keeps, of all generations of a row, the one with the highest source offset: a row is a function of its
partition up to its offset. The generation breaks ties only.

Wire form: key `<generation>:<row key>`, or `<generation>=<its bytes in base64>` where the row key is a UUID; value
`<offset>:<row>`; a record without a value is a tombstone. With a marker as its row (see `markers`), the record of a
finished request has at most 64 bytes of key and value.
"""

from __future__ import annotations

import contextlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from alto_streams.errors import Poison

UUID_CHARS = 36
_KEY = re.compile(rb"([0-9]+)(?:=([A-Za-z0-9_-]{22})|:(.*))", re.DOTALL)


class Row(NamedTuple):
    """A row as of the source record at `offset`, written by the owner of group generation `generation`."""

    offset: int
    generation: int
    value: bytes


def encode_key(key: str, generation: int) -> bytes:
    """The changelog key of a row's version."""
    if len(key) == UUID_CHARS:
        with contextlib.suppress(ValueError):
            known = UUID(key)
            if str(known) == key:
                return b"%d=%s" % (generation, urlsafe_b64encode(known.bytes).rstrip(b"="))
    return b"%d:%s" % (generation, key.encode())


def decode_key(raw: bytes) -> tuple[str, int]:
    """Row key and generation. Raises `Poison` if it is not a changelog key."""
    form = _KEY.fullmatch(raw)
    if form is None:
        raise Poison("changelog record whose key is neither <generation>:<row key> nor <generation>=<UUID>")
    generation, short, key = form.groups()
    return str(UUID(bytes=urlsafe_b64decode(short + b"=="))) if short else key.decode(), int(generation)


def encode_value(offset: int, value: bytes) -> bytes:
    """The changelog value of a row's version."""
    return b"%d:%s" % (offset, value)


def decode_value(raw: bytes) -> tuple[int, bytes]:
    """Source offset and row. Raises `Poison` if it is not a changelog value."""
    offset, sep, value = raw.partition(b":")
    if not sep or not offset.isdigit():
        raise Poison("changelog record whose value is not <offset>:<row>")
    return int(offset), value


class Rows:
    """The current row of every key of one partition, and the generations of which the changelog still has a record."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._others: dict[str, dict[int, Row]] = {}  # versions that lost, by generation, where there are any

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> Row | None:
        """The current row."""
        return self._rows.get(key)

    def items(self) -> Iterator[tuple[str, Row]]:
        """Every key with its current row."""
        return iter(list(self._rows.items()))

    def apply(self, raw_key: bytes, raw_value: bytes | None) -> None:
        """Takes in one changelog record. Reading the same stretch of the log again changes nothing in the end.

        Raises:
            Poison: key or value have another form.
        """
        key, generation = decode_key(raw_key)
        if raw_value is None:
            self.bury(key, generation)
        else:
            offset, value = decode_value(raw_value)
            self._take(key, Row(offset, generation, value))

    def put(self, key: str, row: Row) -> None:
        """Keeps the row with the highest (offset, generation); the other generation is remembered as a loser.

        The same version again (equal offset and generation) replaces it: the later write is the later state.
        """
        self._take(key, row)
        if self._rows[key] is row and key in self._others:  # its owner needs no other version any more
            self._others[key] = {each: lost._replace(value=b"") for each, lost in self._others[key].items()}

    def _take(self, key: str, row: Row) -> None:
        known = self._rows.get(key)
        if known is None or (row.offset, row.generation) >= (known.offset, known.generation):
            self._rows[key] = row
            loser = known
        else:
            loser = row
        winner = self._rows[key]
        if loser is not None and loser.generation != winner.generation:
            self._others.setdefault(key, {})[loser.generation] = loser
        self._forget_other(key, winner.generation)

    def generations(self, key: str) -> list[int]:
        """Every generation under which the changelog may still have a record of this row: what a delete must bury."""
        known = set(self._others.get(key, ()))
        row = self._rows.get(key)
        if row is not None:
            known.add(row.generation)
        return sorted(known)

    def losers(self) -> Iterator[tuple[str, int]]:
        """The versions that lost: they may be deleted from the changelog."""
        return iter([(key, generation) for key, lost in self._others.items() for generation in sorted(lost)])

    def delete(self, key: str) -> None:
        """Drops the row and everything known of it."""
        self._rows.pop(key, None)
        self._others.pop(key, None)

    def bury(self, key: str, generation: int) -> None:
        """The tombstone of this version is in the changelog."""
        row = self._rows.get(key)
        if row is not None and row.generation == generation:
            # Either the row is deleted, and all its versions are buried one by one; or this one was buried as a loser
            # by an owner who had not seen it yet: what that owner knew to be the row is among the others.
            del self._rows[key]
            others = self._others.pop(key, {})
            for lost in others.values():
                self._take(key, lost)
        self._forget_other(key, generation)

    def _forget_other(self, key: str, generation: int) -> None:
        lost = self._others.get(key)
        if lost is not None:
            lost.pop(generation, None)
            if not lost:
                del self._others[key]
