"""Rows that a zombie cannot overwrite: a Faust table whose changelog is keyed by (row key, group generation).

Faust assigns the changelog's partitions next to the source topic's (equal partition counts), reads them back, and keeps
standbys; `merge.Rows` decides which version of a row counts. Writes go around Faust, through the app's direct sender.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import faust
from faust.stores.memory import Store
from faust.types import TP

from alto_streams.errors import Fenced, Retryable
from alto_streams.log.sender import Out
from alto_streams.tables.versions import Row, Rows, encode_key, encode_value
from alto_streams.worker.app import App

log = logging.getLogger(__name__)
faust_log = logging.getLogger("faust.tables")  # what Faust's services say about themselves

T = TypeVar("T")

DELETES_AT_ONCE = 1_000


class Put(NamedTuple):
    """A row as of the source record at `offset`; without a value it is deleted."""

    key: str
    offset: int
    value: bytes | None


class RowTable:
    """Rows of the partitions that this worker owns, in memory, each change acknowledged by the changelog first.

    The changelog is `<app id>-<name>-changelog`, compacted, with as many partitions as the source topic.

    Args:
        on_active: called with the partitions that this worker has newly taken, when their rows have been read back and
            before any of their records is delivered. An exception in it stops the worker.
        on_lost: called with the partitions that it has lost, before it may take them again.
        expired: says of a row key that its row is past the horizon; such rows are dropped on recovery.
    """

    def __init__(
        self,
        app: App,
        name: str,
        *,
        on_active: Callable[[frozenset[int]], Awaitable[None]] | None = None,
        on_lost: Callable[[frozenset[int]], None] | None = None,
        expired: Callable[[str], bool] | None = None,
    ) -> None:
        self.app = app
        self.name = name
        self.topic = f"{app.conf.id}-{name}-changelog"
        self._on_active = on_active
        self._on_lost = on_lost
        self._expired = expired
        self._rows: dict[int, Rows] = {}
        self._active: frozenset[int] = frozenset()
        self._owned: frozenset[int] = frozenset()  # active before the rebalance that is going on
        self._taking: frozenset[int] = frozenset()  # active, but its owner has not been told yet
        self._generation = 0
        self._table = _Changelog(app, name=name, key_type=bytes, value_type=bytes, rows=self)
        app.tables.add(self._table)

    @property
    def active(self) -> frozenset[int]:
        """The partitions whose rows are complete and may be written."""
        return self._active

    @property
    def generation(self) -> int:
        """The group generation under which the active partitions are owned."""
        return self._generation

    def check(self, partition: int) -> None:
        """Raises `Fenced` if the partition is not active."""
        self._active_rows(partition)

    def get(self, partition: int, key: str) -> Row | None:
        """The current row. Raises `Fenced` if the partition is not active."""
        return self._active_rows(partition).get(key)

    def items(self, partition: int) -> Iterator[tuple[str, Row]]:
        """Every key of the partition with its row. Raises `Fenced` if the partition is not active."""
        return self._active_rows(partition).items()

    def __len__(self) -> int:
        """How many rows the active partitions have."""
        return sum(len(self._rows[partition]) for partition in self._active if partition in self._rows)

    async def put_many(
        self, partition: int, puts: Iterable[Put | tuple[str, int, bytes | None]], generation: int | None = None
    ) -> None:
        """Writes rows; returns when the changelog has acknowledged all of them, and only then does `get` show them.

        `generation`: of the assignment under which the records were read (a Faust message's `generation_id`); without
        it the present one. A delete buries every version that the changelog may still have.

        Raises:
            Fenced: the partition is not active any more, or the generation has passed; nothing may have been written,
                or rows under a generation that loses.
            Retryable: the broker did not acknowledge.
        """
        rows = self._active_rows(partition, generation)
        written = self._generation
        changes = [Put(*put) for put in puts]
        await self.app.sender.send_all(
            [out for put in changes for out in self._records(rows, partition, put, written)],
        )
        if self._active_rows(partition, written) is not rows:
            raise Fenced(f"{self.topic}-{partition}: the partition was lost while its rows were written")
        for put in changes:
            if put.value is None:
                rows.delete(put.key)
            else:
                rows.put(put.key, Row(put.offset, written, put.value))

    def _records(self, rows: Rows, partition: int, put: Put, generation: int) -> list[Out]:
        if put.value is None:
            known = sorted({*rows.generations(put.key), generation})
            return [Out(self.topic, encode_key(put.key, each), None, partition) for each in known]
        return [Out(self.topic, encode_key(put.key, generation), encode_value(put.offset, put.value), partition)]

    def _active_rows(self, partition: int, generation: int | None = None) -> Rows:
        if partition not in self._active or (generation is not None and generation != self._generation):
            raise Fenced(
                f"{self.topic}-{partition} is not this worker's under generation {generation or self._generation}:"
                f" active are {sorted(self._active)} under {self._generation}"
            )
        return self._rows.setdefault(partition, Rows())

    # --- called by Faust's table machinery ---

    def read_back(self, partition: int, raw_key: bytes, raw_value: bytes | None) -> None:
        """Takes in a changelog record, on recovery or as a standby."""
        self._rows.setdefault(partition, Rows()).apply(raw_key, raw_value)

    def rebalanced(self, revoked: set[TP], generation: int) -> None:
        """The group has a new assignment: nothing may be written until the rows are complete again."""
        owned, kept = self._owned | (self._active - self._taking), frozenset[int]()
        if generation - self._generation in (0, 1):
            actives = self.app.assignor.assigned_actives()
            kept = frozenset(tp.partition for tp in actives if tp.topic == self.topic)
        # Whatever was not ours in every single generation may have had another owner in between, a worker that was
        # expelled and came back included: what its shell has in memory is not what the rows are now.
        self._owned, self._active, self._taking = owned & kept, frozenset(), frozenset()
        self._generation = generation
        if owned - kept and self._on_lost is not None:
            self._on_lost(owned - kept)
        for tp in revoked:
            if tp.topic == self.topic:
                self._rows.pop(tp.partition, None)

    async def recovered(self, partitions: frozenset[int]) -> None:
        """The rows of `partitions` are complete: cleans up after losers and tells the owner."""
        recovery = self.app.tables.recovery
        if recovery.signal_recovery_start.is_set() or recovery._generation_id != self._generation:
            return  # the next assignment has come in between; its recovery follows
        new, lost = partitions - self._owned, self._owned - partitions
        self._owned, self._active, self._taking = frozenset(), partitions, new
        generation = self._generation
        try:
            if lost and self._on_lost is not None:
                self._on_lost(lost)
            for partition in sorted(new):
                await self._clean(partition, generation)
                self._active_rows(partition, generation)  # it may have been lost while it was cleaned
            if self._on_active is not None:
                await self._on_active(new)
            self._taking = frozenset()
        except Fenced as error:
            if generation == self._generation:
                await self.app.crash(error)
            else:  # Faust goes on with the next assignment beside this: its own recovery takes them anew
                log.info("%s: %s", self.topic, error)
        except Exception as error:  # Faust would swallow it, and go on without what the owner has to do first
            log.exception("%s: taking partitions %s failed", self.topic, sorted(new))
            await self.app.crash(error)

    async def _clean(self, partition: int, generation: int) -> None:
        rows = self._rows.setdefault(partition, Rows())
        try:
            await self._drop_expired(rows, partition, generation)
            await self._bury_losers(rows, partition, generation)
        except Retryable as error:  # the next sweep, or the next owner
            log.warning("%s-%d: old versions of rows stay in the changelog: %s", self.topic, partition, error)

    async def _drop_expired(self, rows: Rows, partition: int, generation: int) -> None:
        if self._expired is not None:
            past = [Put(key, row.offset, None) for key, row in rows.items() if self._expired(key)]
            for batch in _batches(past):
                await self.put_many(partition, batch, generation)

    async def _bury_losers(self, rows: Rows, partition: int, generation: int) -> None:
        # What counts is written anew under our own generation before anything is buried: another owner, who has read
        # back other versions, may bury the one that we take for the row.
        keys = sorted({key for key, older in rows.losers() if older < generation})
        kept = [(key, row) for key in keys if (row := rows.get(key)) is not None and row.generation < generation]
        for batch in _batches([Put(key, row.offset, row.value) for key, row in kept]):
            await self.put_many(partition, batch, generation)
        # A newer generation than ours is its owner's to clean: our tombstone could bury its next write.
        for losers in _batches([(key, older) for key, older in rows.losers() if older < generation]):
            await self.app.sender.send_all(
                [Out(self.topic, encode_key(key, older), None, partition) for key, older in losers]
            )
            for key, older in losers:
                rows.bury(key, older)


def _batches(all_of_them: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(all_of_them), DELETES_AT_ONCE):
        yield all_of_them[start : start + DELETES_AT_ONCE]


class _RowStore(Store):  # type: ignore[misc]
    """What Faust takes for the table's storage: hands everything on to the `RowTable`."""

    logger = faust_log
    table: _Changelog

    @property
    def rows(self) -> RowTable:
        return self.table.rows

    def persisted_offset(self, tp: TP) -> int | None:
        """None: rows are in memory, so a changelog is read from its beginning."""
        return None

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        """Changelog records, on recovery or as a standby."""
        for event in batch:
            message = event.message
            self.rows.read_back(message.partition, message.key, message.value)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """A new assignment; recovery follows."""
        self.rows.rebalanced(revoked, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """The changelogs of `active_tps` have been read to their end."""
        await self.rows.recovered(frozenset(tp.partition for tp in active_tps))


class _Changelog(faust.Table):  # type: ignore[misc]
    """A Faust table that only keeps our store supplied."""

    logger = faust_log

    def __init__(self, *args: Any, rows: RowTable, **kwargs: Any) -> None:
        self.rows = rows
        super().__init__(*args, **kwargs)

    def _new_store(self) -> _RowStore:
        return _RowStore("memory://", self.app, self, table_name=self.name, loop=self.loop)
