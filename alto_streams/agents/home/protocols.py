"""What a stage agent works on: the records that were polled, the rows of its partitions, and a way to send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from alto_streams.log.letters import Origin
from alto_streams.log.sender import Out

SendAll = Callable[[list[Out]], Awaitable[object]]


class StoredRow(Protocol):
    """A row as the table has it, as of the record at `offset`."""

    @property
    def offset(self) -> int: ...

    @property
    def value(self) -> bytes: ...


class RowTable(Protocol):
    """The rows of this worker's partitions, kept in a compacted changelog (see `tables.store`)."""

    @property
    def generation(self) -> int: ...

    def check(self, partition: int) -> None: ...

    def get(self, partition: int, key: str) -> StoredRow | None: ...

    def items(self, partition: int) -> Iterable[tuple[str, StoredRow]]: ...

    async def put_many(
        self, partition: int, puts: Iterable[tuple[str, int, bytes | None]], generation: int | None = None
    ) -> None: ...


class Polled(Origin, Protocol):
    """A record as it was polled, with the time at which it was appended."""

    @property
    def at_ms(self) -> int: ...
