"""Writes the rows that records have changed into the changelog, together, about once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from alto_streams.agents.home.protocols import RowTable
from alto_streams.agents.home.working_rows import WorkingRows, Written
from alto_streams.errors import Fenced, Poison, Retryable
from alto_streams.parts import Backoff

log = logging.getLogger(__name__)

SAVE_EVERY_S = 1.0  # how much is done again after a crash

TooLarge = Callable[[int, str, int, Poison], Awaitable[None]]
"""What becomes of the row of (partition, key) as of an offset that is larger than a record may be."""


class RowSaver:
    """Keeps the changelog of one stage about a second behind. `in_hand(partition)`: rows that a batch works on."""

    def __init__(
        self, rows: WorkingRows, table: RowTable, in_hand: Callable[[int], Collection[str]], too_large: TooLarge
    ) -> None:
        self._rows, self._table, self._in_hand, self._too_large = rows, table, in_hand, too_large
        self._due: dict[int, asyncio.TimerHandle | asyncio.Task[None]] = {}

    def changed(self, partition: int) -> None:
        """Rows of the partition may have changed."""
        if partition not in self._due and self._rows.held(partition) is not None:
            self._due[partition] = asyncio.get_running_loop().call_later(SAVE_EVERY_S, self._begin, partition)

    def drop(self, partition: int) -> None:
        """The partition has another owner."""
        if (due := self._due.pop(partition, None)) is not None:
            due.cancel()

    async def save(self, partition: int) -> None:
        """Write the changed rows now, but for those in hand: what these ask for is not in the log yet.

        Raises:
            Fenced: the partition may be lost.
            Retryable: the changelog did not acknowledge.
        """
        generation = self._table.generation  # under another one, the partition may have had another owner in between
        if written := self._rows.to_save(partition, self._in_hand(partition)):
            try:
                await self._table.put_many(partition, written, generation)
                self._rows.saved(partition, written)
            except Poison as error:
                await self._save_singly(partition, written, generation, error)

    async def _save_singly(self, partition: int, written: list[Written], generation: int, error: Poison) -> None:
        """A row is larger than a record may be: this costs its own request and no other."""
        for each in written:
            key, offset, _ = each
            try:
                if len(written) > 1:
                    await self._table.put_many(partition, [each], generation)
                    self._rows.saved(partition, [each])
                    continue
            except Poison as cause:
                error = cause
            await self._too_large(partition, key, offset, error)
            self._rows.saved(partition, [each])  # only now is nothing owed for it

    def _begin(self, partition: int) -> None:
        self._due[partition] = asyncio.get_running_loop().create_task(self._save_until_done(partition))

    async def _save_until_done(self, partition: int) -> None:
        backoff = Backoff()
        while self._rows.held(partition) is not None:
            wait_s = SAVE_EVERY_S
            try:
                await self.save(partition)
            except (Retryable, Fenced) as error:
                wait_s = max(wait_s, backoff.next_s())
                log.warning("partition %d: rows wait to be stored: %s", partition, error)
            except Exception:  # what is not stored holds up what is committed
                wait_s = max(wait_s, backoff.next_s())
                log.exception("partition %d: rows wait to be stored", partition)
            await asyncio.sleep(wait_s)
        self._due.pop(partition, None)
