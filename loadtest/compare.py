"""Every mode in one run on one machine: our barrier, stream and verdict-first, the LangGraph twin, and the limit.

`stream` and `verdict_first` are the same requests, taken at different times: once the last verdict's call has ended, or
as soon as the last verdict is written. So is the limit's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from alto_streams.wire.records import Mode
from loadtest.bench import PARTITIONS, Bench, bench
from loadtest.cost import CostPlan, measure_cost
from loadtest.kafka import kafka_version
from loadtest.langgraph_run import langgraph_run
from loadtest.limit import POLICIES, limit_run
from loadtest.machine import commit, machine
from loadtest.samples import Figures, Sample, figures

LATENCIES = {"throughput_at_4s": 4.0, "throughput_at_5600ms": 5.6}
SYSTEM = {"barrier": Mode.BARRIER, "stream": Mode.STREAM, "verdict_first": Mode.STREAM}


@dataclass(frozen=True, slots=True)
class ComparePlan:
    """At which offered rates each mode is run, and how much: `seeds` of `requests` each at every rate.

    `pooled`: rates whose percentiles are wanted, run with `pooled_seeds` of `pooled_requests`.
    """

    rates: dict[str, tuple[float, ...]]
    seeds: int = 2
    requests: int = 300
    pooled: tuple[float, ...] = (1.0, 4.0)
    pooled_seeds: int = 4
    pooled_requests: int = 150
    warm_up: int = 240
    cost: CostPlan | None = field(default_factory=CostPlan)

    def seeds_at(self, rate: float) -> range:
        """The seeds at this rate."""
        return range(1, 1 + (self.pooled_seeds if rate in self.pooled else self.seeds))

    def requests_at(self, rate: float) -> int:
        """The requests of each seed at this rate."""
        return self.pooled_requests if rate in self.pooled else self.requests

    def rates_of(self, mode: str) -> list[float]:
        """Ascending."""
        return sorted(self.rates.get(mode, ()))

    @property
    def steps(self) -> int:
        """How often `tick` is called."""
        loads = {(SYSTEM.get(mode, mode), rate) for mode, rates in self.rates.items() for rate in rates}
        return 3 + sum(len(self.seeds_at(rate)) for _, rate in loads) + (3 if self.cost is not None else 0)


FULL = ComparePlan(
    {
        "barrier": (3.4, 4.0, 4.4),
        "stream": (1.0, 3.2, 4.0, 5.2, 5.8, 6.4),
        "verdict_first": (1.0, 4.0, 5.2, 5.8, 6.4, 7.2, 8.4),
        "langgraph": (3.8, 4.0, 4.4),
    }
)
QUICK = ComparePlan(
    {"barrier": (4.0,), "stream": (4.0,), "verdict_first": (4.0,), "langgraph": (4.0,)},
    pooled_seeds=1,
    pooled_requests=40,
    warm_up=20,
    cost=None,
)


async def compare(recording: Path, plan: ComparePlan, tick: Callable[[str], None]) -> dict[str, Any]:
    """All figures, by mode and offered rate, as `loadtest.result` reads them. `tick` hears what begins.

    Raises:
        ConfigError: the recording cannot be read.
        Unavailable: this machine cannot run Apache Kafka.
        PartFailed: a part did not start.
        LangGraphFailed: the twin brought no result.
    """
    before = machine()
    async with bench(recording, tick) as running:
        await running.warm_up(plan.warm_up)
        modes = {mode: await _system(running, plan, mode) for mode in SYSTEM if mode in plan.rates}
        cost = await measure_cost(running, plan.cost) if plan.cost is not None else None
        delivered = running.all_samples
    if "langgraph" in plan.rates:
        modes["langgraph"] = await _langgraph(recording, plan, tick)
    tick("limit")
    limit = {mode: await asyncio.to_thread(_limit, running, plan, mode) for mode in SYSTEM if mode in plan.rates}
    settings = {
        **asdict(plan),
        "recording": recording.name,
        "broker": f"Apache Kafka {kafka_version()}",
        "partitions": PARTITIONS,
        "workers": "one per stage, four in front of engines, one gateway, one egress",
    }
    return {
        "modes": modes,
        "limit": limit,
        **({"cost": cost} if cost else {}),
        "delivered": delivered_of(delivered),
        "machine": before,
        "commit": commit(),
        "settings": settings,
    }


def delivered_of(samples: list[Sample]) -> dict[str, int]:
    """What clients have heard, against what was recorded."""
    return {
        "requests": len(samples),
        "wrong": sum(sample.wrong for sample in samples),
        "missing": sum(sample.missing for sample in samples),
        "repeated": sum(sample.repeated for sample in samples),
        "errors": sum(bool(sample.error) for sample in samples),
    }


async def _system(running: Bench, plan: ComparePlan, mode: str) -> dict[str, Any]:
    async def at(rate: float) -> Figures:
        runs = await running.runs(SYSTEM[mode], rate, plan.requests_at(rate), plan.seeds_at(rate))
        return figures(runs, mode)

    return await _curve(plan.rates_of(mode), at)


async def _langgraph(recording: Path, plan: ComparePlan, tick: Callable[[str], None]) -> dict[str, Any]:
    async def at(rate: float) -> Figures:
        runs = []
        for seed in plan.seeds_at(rate):
            tick(f"langgraph {rate:g}/s, seed {seed}")
            run, _ = await asyncio.to_thread(langgraph_run, rate, plan.requests_at(rate), seed, recording)
            runs.append(run)
        return figures(runs, "barrier")

    return await _curve(plan.rates_of("langgraph"), at)


def _limit(running: Bench, plan: ComparePlan, mode: str) -> dict[str, Any]:
    """The limit under exactly the same arrivals."""

    async def at(rate: float) -> Figures:
        count, seeds = plan.requests_at(rate), plan.seeds_at(rate)
        return figures([limit_run(POLICIES[mode], rate, running.rows, count, seed) for seed in seeds], mode)

    return asyncio.run(_curve(plan.rates_of(mode), at))


async def _curve(rates: list[float], at: Callable[[float], Awaitable[Figures]]) -> dict[str, Any]:
    found = {rate: await at(rate) for rate in rates}
    means = [(rate, figures.mean_s) for rate, figures in found.items()]
    knees = {name: crossing(means, latency_s) for name, latency_s in LATENCIES.items()}
    return {
        **{name: round(rate, 3) for name, rate in knees.items() if rate is not None},
        "rates": {f"{rate:g}": figures.as_json() for rate, figures in found.items()},
    }


def crossing(means: list[tuple[float, float]], latency_s: float) -> float | None:
    """The offered rate at which the mean latency comes to `latency_s`, on a line between the measured rates around it.

    `means`: (rate, mean latency), ascending. None if no two of them have it between them.
    """
    for (low, below), (high, above) in reversed(list(pairwise(means))):
        if below <= latency_s < above:
            return low + (high - low) * (latency_s - below) / (above - below)
    return None
