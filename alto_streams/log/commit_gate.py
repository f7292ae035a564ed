"""The in-order gate: which offset of each partition may be committed (pure).

Records are finished in any order, but a committed offset says that everything below it is finished. So the gate lets
through only the contiguous finished prefix of what was *delivered*: offsets that the log skips (compaction, transaction
markers) leave no hole, because they were never delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

TP = TypeVar("TP", bound=Hashable)


class _Prefix:
    """One partition under one assignment: offsets handed out and not yet let through, oldest first."""

    __slots__ = ("finished", "generation", "last", "position", "waiting")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.waiting: deque[int] = deque()
        self.finished: set[int] = set()
        self.last = -1  # highest offset delivered
        self.position: int | None = None  # the offset to commit: one past the finished prefix


class Gate(Generic[TP]):
    """The finished prefix of each partition. Belongs to one thread; the generation is the consumer group's.

    `held` gives the lowest offset of a partition that may not be committed though its record is finished, if any.

    A record of an older assignment (another generation) changes nothing: its partition was revoked in between, and
    what it stands for is delivered again, here or elsewhere.
    """

    def __init__(self, held: Callable[[TP], int | None] = lambda tp: None) -> None:
        self._held = held
        self._partitions: dict[TP, _Prefix] = {}

    def deliver(self, tp: TP, offset: int, generation: int) -> None:
        """Notes that a record is handed to the application: nothing above it may be committed before it is finished.

        Delivering an offset again (after a seek back to the committed one) changes nothing.
        """
        prefix = self._partitions.get(tp)
        if prefix is None or prefix.generation < generation:
            prefix = self._partitions[tp] = _Prefix(generation)
        if prefix.generation == generation and offset > prefix.last:
            prefix.last = offset
            prefix.waiting.append(offset)

    def finish(self, tp: TP, offset: int, generation: int) -> bool:
        """Marks a record as finished. False when that changed nothing: an older assignment, or finished already."""
        prefix = self._partitions.get(tp)
        if prefix is None or prefix.generation != generation:
            return False
        waiting, finished = prefix.waiting, prefix.finished
        if not waiting or not waiting[0] <= offset <= prefix.last or offset in finished:
            return False
        finished.add(offset)
        while waiting and waiting[0] in finished:
            prefix.position = waiting[0] + 1
            finished.discard(waiting.popleft())
        return True

    def position(self, tp: TP) -> int | None:
        """What may be committed: one past the finished prefix, or what is held below it. None: nothing is finished."""
        prefix = self._partitions.get(tp)
        if prefix is None or prefix.position is None:
            return None
        held = self._held(tp)
        return prefix.position if held is None else min(prefix.position, held)

    def partitions(self) -> list[TP]:
        """The partitions that have an offset to commit."""
        return [tp for tp, prefix in self._partitions.items() if prefix.position is not None]

    def generation(self, tp: TP) -> int | None:
        """The assignment under which the partition's records are delivered."""
        prefix = self._partitions.get(tp)
        return None if prefix is None else prefix.generation

    def unfinished(self) -> int:
        """How many delivered records hold the gate, over all partitions. May be asked from another thread."""
        return sum(len(prefix.waiting) - len(prefix.finished) for prefix in list(self._partitions.values()))

    def revoke(self, tps: Iterable[TP]) -> None:
        """Forgets partitions: they are no longer assigned, or are about to be delivered anew."""
        for tp in tps:
            self._partitions.pop(tp, None)
