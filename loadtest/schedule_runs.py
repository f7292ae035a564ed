"""One run of the scheduling benchmark: the reference pipeline on four unequal engines, in virtual time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from alto_streams.models.simulated import Timing
from alto_streams.simulator import SimulatedRequest, SimulatedSystem, simulate
from alto_streams.wire.plans import Plan
from alto_streams.wire.records import Mode, Status
from loadtest.reference import pipeline as reference
from loadtest.schedule_mixes import Arrival, Workload

SPEEDS = (1.0, 1.0, 1.0, 0.5)
PREFIXES = 2  # of four prompt classes, what a prefix cache holds
HOP_S = 0.004  # two hops over an idle log take so long, p99 (docs/performance.md)


def system(workload: Workload, policy: str) -> SimulatedSystem:
    """Four engines, one of them at half the speed of the others, each of which caches two of four prefixes."""
    timing = Timing(prefixes=PREFIXES)
    return SimulatedSystem(workload.script, timing=timing, hop_s=HOP_S, policy=policy, speeds=SPEEDS)


@dataclass(slots=True)
class Ran:
    """What became of one request. `good`: all verdicts came, each once, and as they were recorded."""

    at_s: float
    phase: int
    counted: bool
    status: Status
    done_s: float
    good: bool


@dataclass(slots=True)
class Run:
    """One run. `prefixes`: (when, tokens of a call's prefix, how many of them were cached). `plans`: (when, plan)."""

    ran: list[Ran] = field(default_factory=list)
    prefixes: list[tuple[float, int, int]] = field(default_factory=list)
    plans: list[tuple[float, Plan]] = field(default_factory=list)

    def ended(self, at_s: float, worker: str, prompt_class: str, prefix: int, cached: int) -> None:
        """A call has ended."""
        self.prefixes.append((at_s, prefix, cached))

    def planned(self, at_s: float, plan: Plan) -> None:
        """A plan is published."""
        self.plans.append((at_s, plan))

    def counted(self, phase: int | None = None) -> list[Ran]:
        """The requests that count, of one phase or of all."""
        return [each for each in self.ran if each.counted and phase in (None, each.phase)]

    @property
    def mean_s(self) -> float:
        """The mean latency of all that count."""
        return statistics.fmean(each.done_s for each in self.counted())


def run(
    workload: Workload,
    arrived: Sequence[Arrival],
    seed: int,
    on: SimulatedSystem,
    deadline_s: float | None = None,
    shed: bool = False,
) -> Run:
    """Let all of these requests come, and wait until they have ended."""
    done = Run()
    sent = [
        SimulatedRequest(
            n, each.at_s, msgspec.json.encode({"prompt": each.request.prompt}), Mode.STREAM, deadline_s, shed
        )
        for n, each in enumerate(arrived)
    ]
    for outcome in simulate(reference.pipeline, sent, on, seed, done):
        of = arrived[outcome.number]
        labels = [claim.label for claim in of.request.claims]
        good = outcome.status is Status.OK and msgspec.json.decode(outcome.result) == {"labels": labels}
        done.ran.append(Ran(of.at_s, of.phase, of.counted, outcome.status, outcome.done_s, good))
    return done
