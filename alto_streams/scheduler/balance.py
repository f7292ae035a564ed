"""How much of each prompt class every worker takes, once it is settled who may take what.

The loads that come out are the most even ones: the sum of load**2 / speed is minimal, and with it the greatest
load / speed (classes that can be split at will make a polymatroid, where the least sum is also the least maximum).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alto_streams.wire.plans import PREFILL

FLOOR = 0.1  # of a class, by speed, whatever the balance: an owner without any work would lose the prefix
ENOUGH = 1e-3  # of all work; less than that need not be moved
NOTHING = 1e-6  # tokens/s of all classes; from less than that nothing can be learned


@dataclass(frozen=True, slots=True)
class BalanceProblem:
    """Demands and speeds by index. `demand`: work, about 1.0 in all. `speed`: their mean is 1.0.

    `reread`: the work that it were to read the prefix for every call. `most_owners`: as many as there are partitions.
    `limit`: how many classes' prefixes a worker keeps; None where that is not known.
    """

    classes: Sequence[str]
    workers: Sequence[str]
    demand: Sequence[float]
    speed: Sequence[float]
    reread: Sequence[float]
    most_owners: Sequence[int]
    limit: int | None

    @property
    def total(self) -> float:
        return sum(self.demand)

    def missed(self, held: int) -> float:
        """The share of calls whose prefix is gone, at a worker that takes so many classes."""
        if self.limit is None or held <= self.limit:
            return 0.0
        return min(1.0, 2.0 * (held - self.limit) / held)  # least recently used, so worse than the share that fits


def problem(
    demand: Mapping[str, float],
    speeds: Mapping[str, float],
    partitions: Mapping[str, int],
    prefix: Mapping[str, float],
    rates: Mapping[str, float],
    limit: int | None,
) -> BalanceProblem:
    """Classes are those with partitions; one without demand gets a little, so that it is somewhere."""
    classes = sorted(name for name, count in partitions.items() if count > 0)
    workers = sorted(speeds)
    known = [max(0.0, demand.get(name, 0.0)) for name in classes]
    total = sum(known)
    if total < NOTHING:
        known, total = [1.0] * len(known), 1.0
    mean = sum(speeds.values()) / len(speeds)
    return BalanceProblem(
        classes=classes,
        workers=workers,
        demand=[max(each / total, 1e-3) for each in known],
        speed=[max(0.05, speeds[worker] / mean) for worker in workers],
        reread=[PREFILL * rates.get(name, 0.0) * prefix.get(name, 0.0) / total for name in classes],
        most_owners=[min(partitions[name], len(workers)) for name in classes],
        limit=limit,
    )


def spread(
    given: BalanceProblem, owners: Sequence[Sequence[int]], rounds: int = 12
) -> tuple[list[dict[int, float]], list[float]]:
    """Each class's shares by worker (their sum is 1), and each worker's load, re-reading included.

    Classes are divided one after the other, all of them `rounds` times, or until hardly any work moves.
    """
    held = [0] * len(given.workers)
    for mine in owners:
        for worker in mine:
            held[worker] += 1
    missed = [given.missed(count) for count in held]
    load = [0.0] * len(given.workers)
    costs, shares = [], []
    for index, mine in enumerate(owners):
        cost = {w: given.demand[index] + given.reread[index] * missed[w] for w in mine}
        speed = sum(given.speed[w] for w in mine)
        share = {w: given.speed[w] / speed for w in mine}
        for w in mine:
            load[w] += cost[w] * share[w]
        costs.append(cost)
        shares.append(share)
    floors = [{w: FLOOR * share for w, share in each.items()} for each in shares]
    order = sorted((i for i, mine in enumerate(owners) if len(mine) > 1), key=lambda i: -given.demand[i])
    for _ in range(rounds):
        moved = 0.0
        for index in order:
            moved += _level(given.speed, costs[index], shares[index], floors[index], load)
        if moved < ENOUGH * given.total:
            break
    return shares, load


def _level(
    speed: Sequence[float], cost: dict[int, float], share: dict[int, float], floor: dict[int, float], load: list[float]
) -> float:
    """Divide one class anew, all else being equal; returns the work that went to another worker.

    Above its floor each owner is filled up to one common level of cost * load / speed, as water would.
    """
    below = []
    for w, c in cost.items():
        beside = load[w] - c * share[w] + c * floor[w]
        below.append((c * beside / speed[w], speed[w] / (c * c), beside, w))
    below.sort()
    left = 1.0 - sum(floor.values())
    room = reached = 0.0
    level = below[0][0]
    for start, width, _, _ in below:
        if room and room * start - reached >= left:
            break
        room += width
        reached += width * start
        level = (left + reached) / room
    moved = 0.0
    for start, width, beside, w in below:
        new = floor[w] + max(0.0, level - start) * width
        moved += cost[w] * abs(new - share[w])
        share[w] = new
        load[w] = beside + cost[w] * (new - floor[w])
    return moved / 2
