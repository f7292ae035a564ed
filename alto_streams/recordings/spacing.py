"""When recorded requests are sent again: with their own spacing, or at a rate. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from alto_streams.recordings.format import Recorded


class Arrivals(StrEnum):
    """How requests at a rate are spaced."""

    POISSON = "poisson"
    UNIFORM = "uniform"


class Planned(NamedTuple):
    """A request, and when it shall be sent, in seconds since the run's begin."""

    at_s: float
    request: Recorded


def as_recorded(requests: Sequence[Recorded], speed: float) -> list[Planned]:
    """With their own spacing, `speed` times as fast; the first one at once."""
    first_ms = requests[0].at_ms if requests else 0
    return [Planned(round((each.at_ms - first_ms) / 1000 / speed, 6), each) for each in requests]


def at_rate(requests: Sequence[Recorded], rate: float, arrivals: Arrivals, seed: int) -> list[Planned]:
    """In their order, at `rate` a second: evenly, or at Poisson instants drawn with the seed."""
    rng, at_s, planned = random.Random(seed), 0.0, []
    for number, each in enumerate(requests):
        at_s = at_s + rng.expovariate(rate) if arrivals is Arrivals.POISSON else number / rate
        planned.append(Planned(round(at_s, 6), each))
    return planned
