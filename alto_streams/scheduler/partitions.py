"""From shares to partitions: each worker gets its part of a class's partitions, and keeps those that it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle

RESERVE = 3  # partitions per worker from which on every worker has one, for calls that escape


def allot(count: int, shares: Mapping[str, float], workers: Sequence[str]) -> dict[str, int]:
    """How many of `count` partitions each worker gets.

    By share, at least one each (as far as there are so many). With `RESERVE` partitions per worker, one that has no
    share gets exactly one.
    """
    sharing = sorted((w for w in workers if shares.get(w, 0.0) > 0), key=lambda w: (-shares[w], w))[:count]
    reserve = count >= RESERVE * len(workers)
    counts = dict.fromkeys(sharing, 1)
    if reserve:
        counts |= {w: 1 for w in workers if w not in counts}
    left = count - sum(counts.values())
    whole = sum(shares[w] for w in sharing)
    for _ in range(left):  # always to the one that is furthest below its share
        neediest = max(sharing, key=lambda w: shares[w] / whole * count - counts[w])
        counts[neediest] += 1
    return counts


def assign(counts: Mapping[str, int], before: Sequence[str]) -> list[str]:
    """The owner of each partition: as before where the worker may keep it, all others in turn."""
    total = sum(counts.values())
    left = dict(counts)
    owners: list[str | None] = [None] * total
    for partition, worker in enumerate(before[:total]):
        if left.get(worker, 0) > 0:
            owners[partition] = worker
            left[worker] -= 1
    turn = [w for _, w in sorted((rank / counts[w], w) for w in left for rank in range(left[w]))]
    return [owner if owner is not None else turn.pop(0) for owner in owners]


def unplanned(counts: Mapping[str, int], workers: Collection[str]) -> dict[str, list[str]]:
    """Who owns each partition of each class while there is no plan: all in turn, class by class."""
    turn = cycle(sorted(workers))
    return {name: [next(turn) for _ in range(counts[name])] for name in sorted(counts)}


def moves(owners: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]]) -> int:
    """How many partitions change hands; those of a class that had none do not count."""
    return sum(
        old != new for name, mine in owners.items() for old, new in zip(before.get(name, ()), mine, strict=False)
    )
