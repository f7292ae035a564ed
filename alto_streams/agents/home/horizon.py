"""What may be forgotten: the horizon behind a request's creation, past which no record of it counts. Pure.

The root remembers longer. A request reaches it however late it is read, since it must hear how each one ended; so how
one ended is kept for as long behind all that was late: the end itself, and the takeover of a partition, behind which
what a crash has left unacknowledged comes again.
"""

from __future__ import annotations

from alto_streams.wire.records import HomeRecord, Request
from alto_streams.wire.request_ids import created_ms


class Horizon:
    """That of one stage's rows, in the partitions that its worker owns. Times in milliseconds since the epoch."""

    def __init__(self, horizon_ms: int, *, is_root: bool) -> None:
        self._horizon_ms, self._is_root = horizon_ms, is_root
        self._taken_ms: dict[int, int] = {}
        self._late_ms: dict[int, dict[str, int]] = {}  # by partition: requests that ended past the horizon, and when

    def own(self, partition: int, now_ms: int) -> None:
        """The partition is this worker's from now on."""
        self._taken_ms[partition], self._late_ms[partition] = now_ms, {}

    def disown(self, partition: int) -> None:
        """It has another owner."""
        self._taken_ms.pop(partition, None)
        self._late_ms.pop(partition, None)

    def may_begin(self, record: HomeRecord, key: str, at_ms: int) -> bool:
        """Whether a record that was appended then may make a row: nothing that was forgotten rises from the dead."""
        return created_ms(key) + self._horizon_ms >= at_ms or (self._is_root and isinstance(record, Request))

    def ended(self, partition: int, key: str, at_ms: int) -> None:
        """The request has ended here."""
        if self._is_root and created_ms(key) + self._horizon_ms < at_ms:
            self._late_ms.setdefault(partition, {})[key] = at_ms

    def is_past(self, partition: int, key: str, now_ms: int) -> bool:
        """Whether its row can be forgotten."""
        since_ms = created_ms(key)
        if self._is_root:
            late_ms = self._late_ms.get(partition, {}).get(key, 0)
            since_ms = max(since_ms, late_ms, self._taken_ms.get(partition, 0))
        return since_ms + self._horizon_ms < now_ms

    def forget(self, partition: int, key: str) -> None:
        """Its row is forgotten."""
        self._late_ms.get(partition, {}).pop(key, None)
