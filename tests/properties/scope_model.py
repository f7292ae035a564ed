"""What a scope is told, and a slow oracle of what follows: completeness, computed anew from all facts each time.

A *history* is everything that is ever said about one scope: streams that grow and close, children that are withdrawn
and replaced under the next epoch, children that are cut off or fail. It is told in any order, with repetitions. The
feeder keeps from the scope what is dead by its path, as a home does; the oracle draws its own conclusions.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec

from alto_streams.wire.paths import Scope

Where = tuple[tuple[int, int], ...]  # (index, epoch) level by level: the oracle reads no wire form
MOST_FACTS = 40
ROOTS: tuple[Where, ...] = ((), (), ((4, 0),), ((2, 0), (0, 3)))


class Violation(AssertionError):
    """Something that must never happen has; the seed replays it."""


class Fact(NamedTuple):
    """One thing that is said. `nth`: the number of children of a close, the first child of a withdrawal."""

    kind: Literal["close", "leaf", "cut", "withdraw"]
    where: Where
    nth: int = 0
    epoch: int = 0


@dataclass
class History:
    """Everything that is said about one scope, in the order in which it happened. `whole`: nothing is left out."""

    root: Where
    levels: int
    facts: list[Fact] = field(default_factory=list)
    whole: bool = True


def wire(where: Where) -> str:
    """The wire form of a path, written here a second time."""
    return "/".join(f"{nth}~{epoch}" if epoch else f"{nth}" for nth, epoch in where)


def unwire(path: str) -> Where:
    """The path of its wire form."""
    levels = [level.partition("~") for level in path.split("/")] if path else []
    return tuple((int(nth), int(epoch or 0)) for nth, _, epoch in levels)


def grow(rng: random.Random) -> History:
    """A random history: depth up to 5, any fan-out, withdrawals, cut-off and failed children."""
    history = History(rng.choice(ROOTS), rng.randint(1, 5))
    _grow_stream(rng, history, history.root, 1, wide=rng.random() < 0.15)
    if len(history.facts) > 1 and rng.random() < 0.1:
        history.whole = False
        del history.facts[rng.randrange(len(history.facts))]
    return history


def _grow_stream(rng: random.Random, history: History, stream: Where, level: int, *, wide: bool) -> None:
    count, epoch, facts = 0, 0, history.facts
    children: list[int] = []  # their epochs
    while True:
        most = 0 if len(facts) > MOST_FACTS else 12 if wide and level == 1 else 3 if level < 3 else 2
        for count in range(len(children), len(children) + rng.randint(0, most)):
            children.append(epoch)
            _grow_child(rng, history, (*stream, (count, epoch)), level)
        if rng.random() < 0.05:  # a child was cancelled ahead of its time: it may never come
            facts.append(Fact("cut", (*stream, (len(children) + rng.randint(0, 1), epoch))))
        if rng.random() < 0.7 or len(facts) > MOST_FACTS:
            facts.append(Fact("close", stream, len(children), epoch))
            return
        if rng.random() < 0.5:  # it had ended before it was withdrawn
            facts.append(Fact("close", stream, len(children), epoch))
        first, epoch = rng.randint(0, len(children)), epoch + rng.randint(1, 2)
        facts.append(Fact("withdraw", stream, first, epoch))
        del children[first:]


def _grow_child(rng: random.Random, history: History, child: Where, level: int) -> None:
    facts, draw = history.facts, rng.random()
    is_cut = draw < 0.12
    if level == history.levels:
        if not is_cut or rng.random() < 0.5:
            facts.append(Fact("leaf", child))
    elif draw > 0.9:  # it failed: its own stream has no children
        facts.append(Fact("close", child))
    elif not is_cut or rng.random() < 0.7:
        before = len(facts)
        _grow_stream(rng, history, child, level + 1, wide=False)
        if is_cut:  # cancelled in the middle: of what lies below, anything may never come to be
            del facts[rng.randint(before, len(facts)) :]
    if is_cut:
        facts.append(Fact("cut", child))


class Oracle:
    """What follows from the facts told so far, taken literally."""

    def __init__(self, root: Where) -> None:
        self.root = root
        self.closes: dict[Where, dict[int, int]] = defaultdict(dict)
        self.withdrawn: dict[Where, set[tuple[int, int]]] = defaultdict(set)
        self.leaves, self.cuts = set[Where](), set[Where]()
        self.epochs: dict[tuple[Where, int], set[int]] = defaultdict(set)  # (stream, child) -> epochs heard of

    def implied(self, fact: Fact) -> list[Fact]:
        """The withdrawals that a path is by itself: a child of a later epoch replaces what was there, and after it.

        So is a close of a later epoch, if only of what would come after its last child.
        """
        base = len(self.root)
        found = [
            Fact("withdraw", fact.where[:depth], nth, epoch)
            for depth, (nth, epoch) in enumerate(fact.where)
            if epoch and depth >= base and (nth, epoch) not in self.withdrawn[fact.where[:depth]]
        ]
        if fact.kind == "close" and fact.epoch:
            found.append(Fact("withdraw", fact.where, fact.nth, fact.epoch))
        return found

    def is_dead(self, where: Where) -> bool:
        withdrawn = self.withdrawn
        for depth, (nth, epoch) in enumerate(where) if withdrawn else ():
            for first, later in withdrawn.get(where[:depth], ()):
                if nth >= first and epoch < later:
                    return True
        return False

    def is_cut_above(self, where: Where) -> bool:
        cuts = self.cuts
        return bool(cuts) and any(where[:depth] in cuts for depth in range(len(self.root) + 1, len(where)))

    def is_void(self, fact: Fact) -> bool:
        """Whether a home would not tell it to the scope: it is dead, or lies below what was cut off."""
        where = fact.where
        if self.is_dead(where) or self.is_cut_above(where) or (where in self.cuts and fact.kind != "cut"):
            return True
        return fact.kind == "close" and fact.epoch < self._epoch(where)

    def learn(self, fact: Fact) -> None:
        match fact.kind:
            case "close":
                self.closes[fact.where][fact.epoch] = fact.nth
            case "leaf":
                self.leaves.add(fact.where)
            case "cut":
                self.cuts.add(fact.where)
            case "withdraw":
                self.withdrawn[fact.where].add((fact.nth, fact.epoch))
        for depth in range(len(self.root), len(fact.where)):
            nth, epoch = fact.where[depth]
            self.epochs[fact.where[:depth], nth].add(epoch)

    def count(self, stream: Where) -> int | None:
        """The children of a stream, if it has closed for good."""
        return self.closes.get(stream, {}).get(self._epoch(stream))

    def _epoch(self, stream: Where) -> int:
        epoch = max(self.closes.get(stream, (0,)), default=0)
        for _, later in self.withdrawn.get(stream, ()):
            epoch = max(epoch, later)
        return epoch

    def is_complete(self, stream: Where) -> bool:
        """It has closed, and each of its children is accounted for by a fact that is not dead."""
        count = self.count(stream)
        return count is not None and all(
            any(self._is_accounted((*stream, (nth, epoch))) for epoch in self.epochs.get((stream, nth), ()))
            for nth in range(count)
        )

    def _is_accounted(self, child: Where) -> bool:
        return not self.is_dead(child) and (child in self.leaves or child in self.cuts or self.is_complete(child))

    def is_closed_above(self, leaf: Where) -> bool:
        return all(self.count(leaf[:depth]) is not None for depth in range(len(self.root), len(leaf)))


class ScopeWorld:
    """A scope that is told a history, fact by fact, beside the oracle that hears the same."""

    def __init__(self, history: History) -> None:
        self.history, self.oracle = history, Oracle(history.root)
        self.scope = Scope(wire(history.root), history.levels)
        self.completed = self.told = 0

    def tell(self, fact: Fact) -> None:
        """One more fact. Raises `Violation` where the scope and the oracle disagree."""
        self.told += 1
        for each in (*self.oracle.implied(fact), fact):
            if not self.oracle.is_void(each):
                self.oracle.learn(each)
                self._check(each, self.scope.complete, self._carry_out(each))

    def forget(self) -> None:
        """Only what a row keeps of the scope is left."""
        self.scope = msgspec.json.decode(msgspec.json.encode(self.scope), type=Scope)

    def _carry_out(self, fact: Fact) -> bool:
        scope, path = self.scope, wire(fact.where)
        match fact.kind:
            case "close":
                return scope.close(path, fact.nth, fact.epoch)
            case "leaf":
                return scope.account(path)
            case "cut":
                return scope.cut_off(path)
            case "withdraw":
                return scope.withdraw(path, fact.nth, fact.epoch)

    def _check(self, fact: Fact, before: bool, turned: bool) -> None:
        now, expected = self.scope.complete, self.oracle.is_complete(self.history.root)
        if now != expected:
            raise Violation(f"complete is {now}, must be {expected}, after {fact}")
        if turned != ((before and not now) if fact.kind == "withdraw" else (now and not before)):
            raise Violation(f"{fact} took complete from {before} to {now} and said {turned}")
        self.completed += now and not before
        if fact.kind == "leaf" and not self.oracle.is_void(fact):
            closed = self.scope.is_closed_above(wire(fact.where))
            if closed != self.oracle.is_closed_above(fact.where):
                raise Violation(f"closed above {fact.where} is {closed}")

    def check_end(self) -> None:
        """Once all has been told."""
        if self.history.whole and not (self.scope.complete and self.completed):
            raise Violation("all has been told, and it is not complete")
        for leaf in self.oracle.leaves:
            if not self.oracle.is_void(Fact("leaf", leaf)):
                closed = self.scope.is_closed_above(wire(leaf))
                if closed != self.oracle.is_closed_above(leaf):
                    raise Violation(f"closed above {leaf} is {closed}")
        for stream in self.scope.streams:
            where = unwire(stream)
            if self.oracle.is_dead(where) or where in self.oracle.cuts or self.oracle.is_cut_above(where):
                raise Violation(f"it keeps the stream at {stream}, which is dead")


def run(seed: int) -> int:
    """One interleaving: a random history told in a random order with repetitions. Returns how many facts were told."""
    rng = random.Random(seed)
    history = grow(rng)
    world, order = ScopeWorld(history), list(history.facts)
    if rng.random() < 0.7:
        rng.shuffle(order)
    else:  # as it happened, but for some that are late
        for _ in range(rng.randint(0, 6)):
            late = order.pop(rng.randrange(len(order)))
            order.insert(rng.randint(0, len(order)), late)
    for _ in range(rng.randint(0, 6)):
        order.insert(rng.randint(0, len(order)), rng.choice(history.facts))
    lossy = rng.random() < 0.1
    for fact in order:
        world.tell(fact)
        if lossy and rng.random() < 0.3:
            world.forget()
    world.check_end()
    return world.told
