"""The rows that a worker has in memory: what its records have made of them, and which changes the changelog lacks.

A row is a function of its partition up to its offset, so it need not be written at each record: what is stored, and
the records since then, make it anew. Until a row is stored, nothing from the first of those records on is committed.
"""

from __future__ import annotations

from collections.abc import Collection

from alto_streams.agents.home.protocols import RowTable
from alto_streams.errors import Fenced
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.markers import decode_stored, encode_stored
from alto_streams.tables.rows import Row
from alto_streams.tables.turns import At
from alto_streams.wire.records import HomeRecord

Written = tuple[str, int, bytes]
"""Row key, offset, and bytes."""


class WorkingRows:
    """The rows of one stage in the partitions that this worker owns."""

    def __init__(self, machine: StageMachine, stored: RowTable) -> None:
        self._machine, self._stored = machine, stored
        self._rows: dict[int, dict[str, Row]] = {}
        self._unsaved: dict[int, dict[str, list[tuple[HomeRecord, At]]]] = {}

    def own(self, partition: int) -> None:
        """The partition is this worker's; what is stored is all that there is of it."""
        self._rows[partition], self._unsaved[partition] = {}, {}

    def disown(self, partition: int) -> None:
        """The partition has another owner."""
        for key in self._rows.pop(partition, {}):
            self._machine.forget(key)
        self._unsaved.pop(partition, None)

    @property
    def partitions(self) -> list[int]:
        """Those that are owned."""
        return list(self._rows)

    def keys(self, partition: int) -> list[str]:
        """The rows in memory."""
        return list(self._rows.get(partition, ()))

    def is_known(self, partition: int, key: str) -> bool:
        """Whether there is such a row, in memory or stored. Raises `Fenced` if the partition is lost."""
        if key in self._rows.get(partition, ()) or key in self._unsaved.get(partition, ()):
            return True
        return self._stored.get(partition, key) is not None

    def row(self, partition: int, key: str) -> Row:
        """The row, a new one if there is none. Raises `Fenced` if the partition is lost."""
        if partition not in self._rows:
            raise Fenced(f"partition {partition} is not this worker's")
        row = self._rows[partition].get(key)
        if row is None:
            stored = self._stored.get(partition, key)
            row = Row() if stored is None else decode_stored(stored.value, stored.offset)
            for record, at in self._unsaved.get(partition, {}).get(key, ()):
                if at.offset > row.offset:  # else it was stored, though nobody was told
                    self._machine.apply(row, record, at)
            self._rows[partition][key] = row
        return row

    def changed(self, partition: int, key: str, record: HomeRecord, at: At) -> None:
        """The record has changed the row."""
        self._unsaved[partition].setdefault(key, []).append((record, at))

    def undo(self, partition: int, key: str, offset: int) -> None:
        """Take back what records from `offset` on have made of a row: they come again."""
        self.drop(partition, key)
        unsaved = self._unsaved.get(partition, {})
        kept = [(record, at) for record, at in unsaved.pop(key, ()) if at.offset < offset]
        if kept:
            unsaved[key] = kept

    def drop(self, partition: int, key: str) -> None:
        """Out of memory: whoever asks for the row next makes it anew."""
        self._rows.get(partition, {}).pop(key, None)
        self._machine.forget(key)

    def forget(self, partition: int, key: str) -> None:
        """Out of memory, with all that is not stored of it."""
        self.drop(partition, key)
        self._unsaved.get(partition, {}).pop(key, None)

    def held(self, partition: int) -> int | None:
        """The lowest offset whose record is not stored: nothing from it on may be committed. None: all are."""
        unsaved = list(self._unsaved.get(partition, {}).values())  # the watchdog's thread asks, too
        return min((changes[0][1].offset for changes in unsaved), default=None)

    def ahead(self, partition: int) -> int:
        """How many changes the changelog lacks."""
        return sum(map(len, self._unsaved.get(partition, {}).values()))

    def to_save(self, partition: int, in_hand: Collection[str]) -> list[Written]:
        """The changed rows as they are now, but for those in hand: what these ask for is not in the log yet.

        Raises:
            Fenced: the partition is lost.
        """
        keys = [key for key in self._unsaved.get(partition, ()) if key not in in_hand]
        rows = [(key, self.row(partition, key)) for key in keys]
        return [(key, row.offset, encode_stored(row)) for key, row in rows]

    def saved(self, partition: int, written: Collection[Written]) -> None:
        """The changelog has these."""
        unsaved = self._unsaved.get(partition, {})
        for key, offset, _ in written:
            left = [(record, at) for record, at in unsaved.pop(key, ()) if at.offset > offset]
            if left:
                unsaved[key] = left
            self.release(partition, key)

    def release(self, partition: int, key: str) -> None:
        """A finished row that is stored needs no place in memory."""
        row = self._rows.get(partition, {}).get(key)
        if row is not None and row.finished is not None and key not in self._unsaved.get(partition, ()):
            del self._rows[partition][key]

    def known(self, partition: int, key: str) -> Row | None:
        """The row, if there is one. Raises `Fenced` if the partition is lost."""
        return self.row(partition, key) if self.is_known(partition, key) else None
