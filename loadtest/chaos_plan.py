"""When which part is killed or paused: a seeded list of rounds. Pure.

A round kills up to two parts at the same instant, an LM worker and another one, or pauses one. Most rounds leave the
system time to recover, so that what a silence came from can be told; some come on the heels of the one before, so that
a recovery is broken off by the next death.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """What is done to a part. `LEAVE`: a worker is asked to end, leaves its group, and is started again."""

    KILL = "kill"
    STOP = "stop"
    LEAVE = "leave"
    BROKER = "broker restart"
    REDIS = "redis restart"


class Role(StrEnum):
    """What a part is."""

    LM = "lm"
    STAGE = "stage"
    EGRESS = "egress"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Round:
    """One instant: what is done to which parts, and the seconds until the next.

    `pause_s`: how long a stop lasts. `is_hard`: whether the broker is killed, not asked to end.
    """

    kind: Kind
    victims: tuple[str, ...]
    then_s: float
    pause_s: float = 0.0
    is_hard: bool = False


@dataclass(frozen=True, slots=True)
class Amount:
    """How many rounds of each kind. `kills`: of an LM worker and another part; `stops`, `leaves`: of one part."""

    kills: int = 0
    stops: int = 0
    leaves: int = 0
    broker_restarts: int = 0
    redis_restarts: int = 0
    lone_lm: float = 0.04  # the share of kill rounds without another part
    on_the_heels: float = 0.1


def plan(amount: Amount, parts: Mapping[Role, Sequence[str]], session_s: float, seed: int) -> list[Round]:
    """The rounds, in order. `parts`: the names of the parts of each role."""
    rng = random.Random(seed)
    kinds = [Kind.KILL] * amount.kills + [Kind.STOP] * amount.stops
    kinds += [Kind.LEAVE] * amount.leaves
    kinds += [Kind.BROKER] * amount.broker_restarts + [Kind.REDIS] * amount.redis_restarts
    rng.shuffle(kinds)
    rounds = [_round(kind, parts, session_s, amount, rng) for kind in kinds]
    brokers = itertools.cycle([True, False])
    return [replace(each, is_hard=next(brokers)) if each.kind is Kind.BROKER else each for each in rounds]


def _round(
    kind: Kind, parts: Mapping[Role, Sequence[str]], session_s: float, amount: Amount, rng: random.Random
) -> Round:
    if kind is Kind.STOP:
        role = rng.choices([Role.LM, Role.STAGE], [0.6, 0.4])[0]
        pause_s = session_s + rng.uniform(1.5, 4.0)
        # Woken, it joins its group again: one more rebalance to be over.
        return Round(kind, (rng.choice(parts[role]),), pause_s + session_s + 2.5, pause_s)
    if kind is Kind.LEAVE:
        role = rng.choices([Role.LM, Role.STAGE, Role.EGRESS], [0.4, 0.5, 0.1])[0]
        return Round(kind, (rng.choice(parts[role]),), rng.uniform(2.0, 5.0))
    if kind is Kind.BROKER:
        return Round(kind, (), 5 * session_s)
    if kind is Kind.REDIS:
        return Round(kind, (), session_s)
    calm = rng.random() >= amount.on_the_heels
    then_s = session_s + rng.uniform(4.5, 6.5) if calm else rng.uniform(0.5, session_s)
    victims = [rng.choice(parts[Role.LM])]
    if rng.random() >= amount.lone_lm:
        role = rng.choices([Role.STAGE, Role.EGRESS, Role.GATEWAY], [0.55, 0.1, 0.35])[0]
        victims.append(rng.choice(parts[role]))
    return Round(kind, tuple(victims), then_s)


def role_of(part: str) -> Role:
    """What a part of the local cluster is, by its name."""
    for prefix, role in (("lm-", Role.LM), ("gateway", Role.GATEWAY), ("egress", Role.EGRESS)):
        if part.startswith(prefix):
            return role
    return Role.STAGE
