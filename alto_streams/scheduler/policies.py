"""Who takes a call: the policies, by name. Pure; chance comes from a `random.Random` that is given.

All but `prompt_aware` know no plan: they choose among everybody who owns a partition of the call's prompt class.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from alto_streams.errors import ConfigError
from alto_streams.scheduler.loads import Worker
from alto_streams.wire.plans import PREFILL

ESCAPE = 1.25  # times the mean: a worker that has more is overloaded (Mirrokni's consistent hashing with bounded loads)
SLACK = 256.0  # tokens more: a few calls on idle engines are no overload
GAIN = 0.8  # another owner takes the call if its cost there is at most this part
HELD_UP = 1 / 32  # how much dearer a cold prefix gets with each call that waits beside it


@dataclass(slots=True, eq=False)
class Owner:
    """A worker as the owner of partitions of one prompt class, which take turns. `weight`: its share by the plan."""

    worker: Worker
    turn: Iterator[int]
    weight: float = 1.0


class Cost(NamedTuple):
    """What a call is expected to take, in tokens: to write, and to read with its class's `prefix` among them."""

    output: float
    prompt: float
    prefix: float

    def work(self, warm: bool) -> float:
        """In tokens written."""
        return self.output + PREFILL * (max(0.0, self.prompt - self.prefix) if warm else self.prompt)


class Candidates(NamedTuple):
    """Where does this call go? `owners`: of its class, never none; `shares`: those to whom the plan gives a weight.

    `live`: whether the owners' live load is known; `planned`: whether there is a plan for the class. `busy`: the mean
    over all workers of outstanding work over speed; it is asked only where it matters. `turn`: all partitions in turn.
    """

    prompt_class: str
    request: str
    path: str
    at_ms: int
    partitions: int
    turn: Iterator[int]
    owners: Sequence[Owner]
    shares: Sequence[Owner]
    live: bool
    planned: bool
    busy: Callable[[], float]
    cost: Cost
    rng: random.Random

    def is_warm(self, owner: Owner) -> bool:
        """Whether the owner's engine has the prefix of the call's class."""
        return owner.worker.is_warm(self.prompt_class, self.at_ms)


class Choice(NamedTuple):
    """An owner, or a partition whoever has it, and why. `looked`: who was compared."""

    reason: str
    owner: Owner | None = None
    partition: int = -1
    looked: Sequence[Owner] = ()


class Policy(Protocol):
    """`blind`: it does not look at loads, so that it does not matter whether they are known."""

    name: str
    blind: bool

    def choose(self, question: Candidates) -> Choice: ...


class RoundRobin:
    """Every partition in turn."""

    name, blind = "round_robin", True

    def choose(self, question: Candidates) -> Choice:
        return Choice("turn", partition=next(question.turn))


class Hash:
    """By request and path: the same call always goes to the same partition."""

    name, blind = "hash", True

    def choose(self, question: Candidates) -> Choice:
        key = f"{question.request}\0{question.path}".encode()
        return Choice("hash", partition=zlib.crc32(key) % question.partitions)


class LeastRequests:
    """The owner with the fewest calls; of several, any."""

    name, blind = "least_requests", False

    def choose(self, question: Candidates) -> Choice:
        owner = _fewest(question.owners, question.rng)
        return Choice("least" if len(question.owners) > 1 else "only", owner, looked=(owner,))


class PowerOfTwo:
    """The one with fewer calls of two owners drawn at random (Mitzenmacher)."""

    name, blind = "power_of_two", False

    def choose(self, question: Candidates) -> Choice:
        if len(question.owners) == 1:
            return Choice("only", question.owners[0], looked=question.owners)
        one, two = question.rng.sample(question.owners, 2)
        return Choice("two", one if _calls(one) <= _calls(two) else two, looked=(one, two))


class Prefix:
    """A worker that has the prefix, whatever else it has to do; the one with the fewest calls of several."""

    name, blind = "prefix", False

    def choose(self, question: Candidates) -> Choice:
        warm = [owner for owner in question.owners if question.is_warm(owner)]
        owner = _fewest(warm or question.owners, question.rng)
        reason = "only" if len(question.owners) == 1 else "warm" if warm else "cold"
        return Choice(reason, owner, looked=(owner,))


class PromptAware:
    """The least predicted outstanding tokens over speed among the class's workers, with what the call costs there.

    Of more than two, two are drawn by their weights. If the better one has `ESCAPE` times the mean of all workers and
    `slack` tokens, the call may go to any other owner of the class where it costs clearly less: this call, no other.
    """

    name, blind = "prompt_aware", False

    def __init__(self, slack: float = SLACK) -> None:
        self._slack = slack

    def choose(self, question: Candidates) -> Choice:
        if not (question.live or question.planned):
            return Choice("turn", partition=next(question.turn))
        if len(question.owners) == 1:
            return Choice("only", question.owners[0], looked=question.owners)
        drawn = _draw_two(question.shares, question.rng)
        if not question.live:
            # Of what others sent there is only the plan's word, so its weights stand for the workers' speeds.
            return Choice("weights", min(drawn, key=lambda owner: owner.worker.own / owner.weight), looked=drawn)
        best, cost = _cheapest(question, drawn)
        if _load(best.worker) > ESCAPE * question.busy() + self._slack:
            others = [owner for owner in question.owners if owner not in drawn]
            if others:
                other, less = _cheapest(question, others)
                if less < GAIN * cost:
                    return Choice("escape", other, looked=(*drawn, other))
        return Choice("warm" if question.is_warm(best) else "cold", best, looked=drawn)


POLICIES: dict[str, Callable[[], Policy]] = {
    made.name: made for made in (RoundRobin, Hash, LeastRequests, PowerOfTwo, Prefix, PromptAware)
}


def policy(name: str) -> Policy:
    """The policy of this name. Raises `ConfigError` naming all."""
    try:
        return POLICIES[name]()
    except KeyError:
        raise ConfigError(f"there is no policy {name!r}; known: {', '.join(POLICIES)}") from None


def follows_plans(name: str) -> bool:
    """Whether ownership and dispatch go by plans; all other policies choose among all workers of a model."""
    return name == PromptAware.name


def _calls(owner: Owner) -> int:
    return owner.worker.their_calls + owner.worker.own_calls


def _load(worker: Worker) -> float:
    return (worker.theirs + worker.own) / worker.speed


def _fewest(owners: Sequence[Owner], rng: random.Random) -> Owner:
    least = min(map(_calls, owners))
    return rng.choice([owner for owner in owners if _calls(owner) == least])


def _draw_two(owners: Sequence[Owner], rng: random.Random) -> Sequence[Owner]:
    """Two owners by their weights, in the order they are drawn; all in that order if there are no more."""
    if len(owners) == 1:
        return owners
    total = sum(owner.weight for owner in owners)
    first = _draw(owners, total, None, rng)
    return first, _draw(owners, total - first.weight, first, rng)


def _draw(owners: Sequence[Owner], total: float, without: Owner | None, rng: random.Random) -> Owner:
    left, last = rng.random() * total, owners[0]
    for owner in owners:
        if owner is without:
            continue
        last = owner
        left -= owner.weight
        if left < 0:
            break
    return last


def _cheapest(question: Candidates, owners: Sequence[Owner]) -> tuple[Owner, float]:
    """The owner with the least work once it has the call, over its speed, and this cost; the first of several.

    A cold prefix holds up every call that runs beside it.
    """
    warm_work, cold_work = question.cost.work(True), question.cost.work(False)
    cold = (cold_work - warm_work) * HELD_UP
    best, least = owners[0], float("inf")
    for owner in owners:
        worker = owner.worker
        work: float = worker.theirs + worker.own
        work += warm_work if question.is_warm(owner) else cold_work + cold * (worker.their_calls + worker.own_calls)
        if work / worker.speed < least:
            best, least = owner, work / worker.speed
    return best, least
