"""The figures of the limit in every mode: what a measured system is divided by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from loadtest.knee import measurements, throughput_at
from loadtest.limit import POLICIES, TIMING, limit_run
from loadtest.reference.workload import ReferenceRequest
from loadtest.samples import MODES, Figures, Sample, figures

NO_LOAD = 0.05  # requests a second: hardly ever two at once
RATES = (1.0, 4.0, 8.0)
LATENCIES = {"throughput_at_4s": 4.0, "throughput_at_5600ms": 5.6}
LOW, HIGH, TOLERANCE = 0.25, 12.0, 0.2  # where the throughputs are looked for, in requests a second


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is simulated: so many seeds of so many requests at each rate."""

    seeds: int = 4
    requests: int = 600
    rates: tuple[float, ...] = RATES
    engines: int = 4

    @property
    def measurements(self) -> int:
        """Of a mode at a rate."""
        return len(MODES) * (1 + len(self.rates) + len(LATENCIES) * measurements(LOW, HIGH, TOLERANCE))

    def as_json(self) -> dict[str, Any]:
        """With what is fixed."""
        return {**asdict(self), "no_load_rate": NO_LOAD, "timing": asdict(TIMING)}


def measure_limit(
    rows: Sequence[ReferenceRequest], plan: Plan, tick: Callable[[str], object] = lambda mode: None
) -> dict[str, dict[str, Any]]:
    """By mode: `no_load_mean_s`, the throughputs of `LATENCIES`, and `rates` with the figures of each.

    Four seeds of 600 requests take half a minute. `tick` hears of each measurement, with its mode.

    Raises:
        ValueError: too few requests for a figure.
    """

    @cache
    def runs(policy: str, rate: float) -> list[list[Sample]]:
        seeds = range(1, plan.seeds + 1)
        return [limit_run(POLICIES[policy], rate, rows, plan.requests, seed, plan.engines) for seed in seeds]

    def at(mode: str, rate: float) -> Figures:
        found = figures(runs(POLICIES[mode], rate), mode)
        tick(mode)
        return found

    return {mode: _of_mode(partial(at, mode), plan) for mode in MODES}


def _of_mode(at: Callable[[float], Figures], plan: Plan) -> dict[str, Any]:
    def mean_s(rate: float) -> float:
        return at(rate).mean_s

    return {
        "no_load_mean_s": round(mean_s(NO_LOAD), 4),
        **{name: round(throughput_at(mean_s, latency, LOW, HIGH, TOLERANCE), 4) for name, latency in LATENCIES.items()},
        "rates": {f"{rate:g}": at(rate).as_json() for rate in plan.rates},
    }
