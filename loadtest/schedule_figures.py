"""Figures of the scheduling benchmark's runs: of one phase or all, pooled over seeds; and what they are worth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from alto_streams.recordings.results import percentile
from loadtest.knee import throughput_at
from loadtest.samples import GOOD_S
from loadtest.schedule_runs import Run

MEAN_S = 5.6  # the mean latency at which throughputs are compared
NEAR, FAR, TOLERANCE = 1.07, 1.3, 0.15  # relative: a throughput is looked for around a guess, and how closely
LEAST, MOST = 0.05, 100.0  # requests a second; beyond, it is not looked for
T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36)  # Student's, two-sided, from one degree of freedom on


@dataclass(frozen=True, slots=True)
class Figures:
    """Latencies in seconds. `goodput`: requests/s within `GOOD_S`. `prefix_hit`: of all prefix tokens, those cached.

    `wrong`: requests that did not give each verdict once and as recorded.
    """

    n: int
    mean_s: float
    p50_s: float
    p99_s: float
    achieved: float
    goodput: float
    prefix_hit: float
    wrong: int

    def as_json(self) -> dict[str, Any]:
        """Rounded."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def figures(runs: Sequence[Run], phase: int | None = None) -> Figures:
    """Of the requests that count, of one phase or of all."""
    ran = [each for run in runs for each in run.counted(phase)]
    latencies = sorted(each.done_s for each in ran)
    offered_s = read = cached = 0.0
    for run in runs:
        times = [each.at_s for each in run.counted(phase)]
        since, until = min(times), max(times)
        offered_s += until - since
        for at_s, prefix, spared in run.prefixes:
            if since <= at_s <= until:
                read, cached = read + prefix, cached + spared
    good = [each for each in ran if each.good]
    return Figures(
        n=len(ran),
        mean_s=statistics.fmean(latencies),
        p50_s=percentile(latencies, 0.5),
        p99_s=percentile(latencies, 0.99),
        achieved=len(good) / offered_s,
        goodput=sum(each.done_s <= GOOD_S for each in good) / offered_s,
        prefix_hit=cached / read if read else 0.0,
        wrong=len(ran) - len(good),
    )


def throughputs(mean_s: Callable[[float, int], float], seeds: Sequence[int], guess: float) -> list[float]:
    """Of each seed, the requests a second at which `mean_s(rate, seed)` comes to `MEAN_S`.

    The first is looked for around the guess, every other one around the one before.

    Raises:
        OutOfReach: so few requests never take so long, or so long even if hardly any come.
    """
    found: list[float] = []
    for seed in seeds:
        measure = cache(lambda rate, seed=seed: mean_s(rate, seed))
        low, high = guess / NEAR, guess * NEAR
        while measure(low) > MEAN_S and low > LEAST:
            low, high = low / FAR, low
        while measure(high) <= MEAN_S and high < MOST:
            low, high = high, high * FAR
        guess = throughput_at(measure, MEAN_S, low, high, TOLERANCE * low)
        found.append(guess)
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean over the seeds, and half the width of its 95 % confidence interval (0 of a single one)."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, T_95[min(len(values) - 2, len(T_95) - 1)] * statistics.stdev(values) / math.sqrt(len(values))
