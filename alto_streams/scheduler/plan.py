"""Who should own what: an assignment of prompt classes to workers, found by search and then cut into partitions.

In this order: even predicted work, as each worker's speed allows; no worker with more classes than its prefix cache
holds (what it reads again is work, and everybody behind waits); the classes with most work at many workers, since calls
come in bursts, and at the slow ones, since a request waits for each of its classes once, and for what is one call of
many the least; few partitions that change hands. A worker's free places are used: a class that could go to more workers
costs nothing as long as its prefix has room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alto_streams.scheduler.balance import BalanceProblem, problem, spread
from alto_streams.scheduler.partitions import allot, assign, moves, unplanned
from alto_streams.wire.plans import Plan

Graph = tuple[tuple[int, ...], ...]  # class -> its workers, in order

OVER = 0.4  # what a class too many for a worker's cache costs, beside the work: as much as so much imbalance
BURST = 0.2  # what all work at one worker of mean speed costs, rather than at many
ALONE = 0.02  # what each class costs that is at one worker only
LATE = 0.4  # what it costs if all calls take twice as long, because slow workers make them
TINY = 0.02  # of all work; a class with less may be at one worker
MOVE = 0.03  # what it costs to give every class to other workers


@dataclass(frozen=True, slots=True)
class Solution:
    """`owners`: class -> the worker of each partition. `weights`: class -> worker -> its share of the class's work.

    `busy`: worker -> work over speed, 1.0 being the mean. `imbalance`: the greatest of them. `moves`: partitions that
    change hands.
    """

    owners: dict[str, list[str]]
    weights: dict[str, dict[str, float]]
    busy: dict[str, float]
    imbalance: float
    moves: int


def solve(
    demand: Mapping[str, float],
    speeds: Mapping[str, float],
    partitions: Mapping[str, int],
    *,
    prefix: Mapping[str, float],
    rates: Mapping[str, float],
    warm_classes: int | None = None,
    current: Plan | None = None,
) -> Solution:
    """The owners of all partitions.

    `demand`: class -> tokens/s, without the prefix. `speeds`: worker -> any unit. `partitions`: class -> how many its
    topic has. `prefix`: class -> tokens, `rates`: class -> calls/s: what a worker reads again that has more than
    `warm_classes`. `current`: the plan now; without one, partitions are as `unplanned`. Always the same of the same.

    Raises:
        ValueError: there is no worker.
    """
    if not speeds:
        raise ValueError("a plan needs at least one worker")
    given = problem(demand, speeds, partitions, prefix, rates, warm_classes)
    before = _graph(given, current) if current else None
    search = _Search(given, before)
    starts = [*([before] if before else []), _start(given, 2), _start(given, 1)]
    best = min((search.improve(start) for start in starts), key=search.cost)
    return _solution(given, best, partitions, current)


def predicted(
    demand: Mapping[str, float],
    speeds: Mapping[str, float],
    plan: Plan,
    *,
    prefix: Mapping[str, float],
    rates: Mapping[str, float],
    warm_classes: int | None = None,
) -> dict[str, float]:
    """Worker -> how busy it would be if this plan got this demand: work over speed, 1.0 being the mean.

    The best that its owners can do: who shares a class divides it by what there is to do, not by the plan's weights.
    """
    partitions = {name: len(owners) for name, owners in plan.owners.items()}
    given = problem(demand, speeds, partitions, prefix, rates, warm_classes)
    return _busy(given, spread(given, _graph(given, plan))[1])


def _graph(given: BalanceProblem, plan: Plan) -> Graph:
    """Who shares each class by this plan; where they have all gone, the fastest worker."""
    index = {worker: i for i, worker in enumerate(given.workers)}
    fastest = max(range(len(given.workers)), key=lambda w: given.speed[w])
    found = []
    for name, most in zip(given.classes, given.most_owners, strict=True):
        there = [index[worker] for worker in plan.weights.get(name, ()) if worker in index]
        found.append(tuple(sorted(there[:most])) or (fastest,))
    return tuple(found)


def _start(given: BalanceProblem, least: int) -> Graph:
    """A first assignment: each class at `least` workers at least, the others' places to the classes with most work.

    The largest parts first, each to the worker with most room.
    """
    workers = len(given.workers)
    places = workers * (given.limit or 2)
    most = [min(each, workers) for each in given.most_owners]
    counts = [min(least, limit) for limit in most]
    while sum(counts) < places:
        open_ = [i for i in range(len(counts)) if counts[i] < most[i]]
        if not open_:
            break
        counts[max(open_, key=lambda i: given.demand[i] / counts[i])] += 1
    room = [given.total * speed / workers for speed in given.speed]
    held = [0] * workers
    graph: list[tuple[int, ...]] = [()] * len(counts)
    for index in sorted(range(len(counts)), key=lambda i: -given.demand[i] / counts[i]):
        mine: list[int] = []
        for _ in range(counts[index]):
            free = [w for w in range(workers) if w not in mine and held[w] < (given.limit or len(counts))]
            if not free and mine:
                break
            chosen = max(free, key=lambda w: room[w]) if free else min(range(workers), key=lambda w: held[w])
            mine.append(chosen)
            held[chosen] += 1
            room[chosen] -= given.demand[index] / counts[index]
        graph[index] = tuple(sorted(mine))
    return tuple(graph)


class _Search:
    """Improves an assignment step by step, as long as a step helps, and a bounded number of them."""

    def __init__(self, given: BalanceProblem, before: Graph | None) -> None:
        self._given = given
        self._before = before
        self._costs: dict[Graph, float] = {}
        self._left = 0
        self._steps = min(150, 2000 // (len(given.workers) * min(3, given.limit or 2)))  # each costs so much more

    def cost(self, graph: Graph) -> float:
        """How bad an assignment is; 1.0 is all that can be asked for, but for bursts."""
        if graph not in self._costs:
            self._left -= 1
            self._costs[graph] = self._cost(graph)
        return self._costs[graph]

    def improve(self, graph: Graph) -> Graph:
        """The assignment that no single step makes better, or where the steps have run out."""
        self._left = self._steps
        while self._left > 0:
            now = self.cost(graph)
            for step in self._neighbours(graph):
                if self.cost(step) < now - 1e-6:
                    graph = step
                    break
                if self._left <= 0:
                    return graph
            else:
                return graph
        return graph

    def _cost(self, graph: Graph) -> float:
        given = self._given
        shares, load = spread(given, graph, rounds=3)
        busy = max(each / speed for each, speed in zip(load, given.speed, strict=True)) * len(load) / given.total
        held = [0] * len(load)
        burst = late = moved = 0.0
        alone = 0
        for index, mine in enumerate(graph):
            part = given.demand[index] / given.total
            burst += part / sum(given.speed[w] for w in mine)
            alone += part > TINY and len(mine) == 1 and given.most_owners[index] > 1
            for w, share in shares[index].items():
                held[w] += 1
                late += share / given.speed[w] / len(graph)
            if self._before is not None:
                moved += len(set(mine) - set(self._before[index])) / len(mine) / len(graph)
        over = max(held) - given.limit if given.limit is not None else 0
        crowded = 0.01 * sum(held) / len(held) if given.limit is None else 0.0
        return busy + OVER * max(0, over) + BURST * burst + ALONE * alone + LATE * late + MOVE * moved + crowded

    def _neighbours(self, graph: Graph) -> Iterator[Graph]:
        """What one step leads to: a class of the busiest worker elsewhere, exchanged, or at one more; then the rest."""
        given = self._given
        _, load = spread(given, graph, rounds=3)
        order = sorted(range(len(load)), key=lambda w: load[w] / given.speed[w])
        hot, others = order[-1], order[:-1]
        for index in [i for i, mine in enumerate(graph) if hot in mine]:
            for other in others[:8]:
                if other not in graph[index]:
                    yield _with(graph, index, add=other, drop=hot)
                    more = len(graph[index]) < given.most_owners[index]
                    if more:
                        yield _with(graph, index, add=other)
                    for back in range(len(graph)):
                        if back != index and other in graph[back] and hot not in graph[back]:
                            yield _with(_with(graph, index, add=other, drop=hot), back, add=hot, drop=other)
                            if more:
                                yield _with(_with(graph, index, add=other), back, drop=other)
            if len(graph[index]) > 1:
                yield _with(graph, index, drop=hot)
        for index in range(len(graph)):
            for other in order:
                if other not in graph[index] and len(graph[index]) < given.most_owners[index]:
                    yield _with(graph, index, add=other)
                elif other in graph[index] and len(graph[index]) > 1:
                    yield _with(graph, index, drop=other)


def _with(graph: Graph, index: int, *, add: int | None = None, drop: int | None = None) -> Graph:
    mine = set(graph[index]) - {drop}
    if add is not None:
        mine.add(add)
    kept = tuple(sorted(mine)) or graph[index]
    return (*graph[:index], kept, *graph[index + 1 :])


def _solution(given: BalanceProblem, graph: Graph, partitions: Mapping[str, int], current: Plan | None) -> Solution:
    shares, load = spread(given, graph)
    owners, weights = {}, {}
    before = current.owners if current is not None else unplanned(partitions, given.workers)
    same = current is not None and set(given.workers) == set(current.busy)
    for index, name in enumerate(given.classes):
        mine = {given.workers[w]: share for w, share in shares[index].items()}
        counts = allot(partitions[name], mine, given.workers)
        counted = len(before.get(name, ())) == partitions[name]
        if same and counted and current is not None and set(mine) == set(current.weights.get(name, ())):
            counts = Counter(before[name])  # who shares a class by other weights needs no other partitions
        owners[name] = assign(counts, before.get(name, ()))
        weights[name] = {w: round(share, 4) for w, share in mine.items()}
    busy = _busy(given, load)
    return Solution(owners, weights, busy, max(busy.values()), moves(owners, before))


def _busy(given: BalanceProblem, load: Sequence[float]) -> dict[str, float]:
    mean = sum(load) / sum(given.speed) or 1.0
    return {w: load[i] / given.speed[i] / mean for i, w in enumerate(given.workers)}
