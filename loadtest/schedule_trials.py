"""What the prompt-aware scheduler does where it gets hard: more load than there are engines for, and an engine less."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from alto_streams.recordings.results import percentile
from alto_streams.scheduler.policies import PromptAware
from alto_streams.simulator import SimulatedSystem
from alto_streams.wire.records import Status
from loadtest.samples import GOOD_S
from loadtest.schedule_figures import figures
from loadtest.schedule_mixes import Workload
from loadtest.schedule_runs import SPEEDS, Ran, Run, run, system

SESSION_S = 10.0  # after which a group knows that a worker has gone, as in production
FLOOD = 12.0  # requests/s, far more than the engines can take
LOST = 0  # the engine that is lost: one of full speed
LOST_S = 60.0
SETTLED_S = 30.0  # after the loss: detected, carried out, and what had piled up worked off
DEADLINE = {"deadline_s": GOOD_S}
VARIANTS: dict[str, dict[str, Any]] = {"without": {}, "least_slack_and_shedding": {**DEADLINE, "shed": True}}


@dataclass(frozen=True, slots=True)
class Trials:
    """How much is simulated. `loads`: times the saturating one. `lost_rate`: requests/s while an engine is lost.

    `seconds`: how long each load lasts; `warm_s`: until plan and bound have been found, of every run.
    """

    seeds: int = 3
    seconds: float = 90.0
    warm_s: float = 30.0
    loads: tuple[float, ...] = (0.4, 0.6, 0.8, 1.0, 1.25, 1.5)
    lost_rate: float = 2.5
    lost_seconds: float = 200.0


def overload(workload: Workload, trials: Trials) -> dict[str, Any]:
    """Goodput within the deadline, by load, with least slack and shedding and without either."""
    on = system(workload, PromptAware.name)
    saturating = statistics.fmean(_saturating(workload, on, trials, seed) for seed in _seeds(trials))
    found: dict[str, Any] = {"saturating": round(saturating, 3)}
    for name, options in VARIANTS.items():
        by_load = {}
        for load in trials.loads:
            rate = saturating * load
            runs = [
                run(workload, workload.steady(rate, trials.seconds, seed, trials.warm_s), seed, on, **options)
                for seed in _seeds(trials)
            ]
            shown = figures(runs)
            by_load[f"{load:g}"] = {
                "rate": round(rate, 3),
                "goodput": round(shown.goodput, 3),
                "shed": round(_share(runs, Status.SHED), 3),
            }
        goodputs = [each["goodput"] for each in by_load.values()]
        found[name] = {"loads": by_load, "peak": max(goodputs), "of_peak": round(goodputs[-1] / max(goodputs), 3)}
    return found


def loss(workload: Workload, trials: Trials) -> dict[str, Any]:
    """One engine of four stops for good in the middle; beside it, three engines from the start."""
    four = replace(system(workload, PromptAware.name), session_s=SESSION_S)
    lossy = replace(four, lost=((LOST, LOST_S),))
    three = replace(four, engines=3, speeds=SPEEDS[:LOST] + SPEEDS[LOST + 1 :])
    after, beside, before, plans, runs = list[Ran](), list[Ran](), list[Ran](), list[float](), list[Run]()
    for seed in _seeds(trials):
        arrived = workload.steady(trials.lost_rate, trials.lost_seconds, seed, trials.warm_s)
        done, with_three = (run(workload, arrived, seed, on) for on in (lossy, three))
        runs.append(done)
        plans.append(
            next(at_s for at_s, plan in done.plans if at_s >= LOST_S and plan.cause.startswith("lost")) - LOST_S
        )
        after += [each for each in done.counted() if each.at_s >= LOST_S + SETTLED_S]
        beside += [each for each in with_three.counted() if each.at_s >= LOST_S + SETTLED_S]
        before += [each for each in done.counted() if each.at_s + each.done_s < LOST_S]
    p99_s, three_s = _p99(after), _p99(beside)
    return {
        "rate": trials.lost_rate,
        "plan_after_s": round(max(plans), 3),
        "requests": sum(len(each.ran) for each in runs),
        "lost_requests": sum(not each.good for done in runs for each in done.ran),
        "p99_before_s": round(_p99(before), 3),
        "p99_worst_s": round(max(_p99(each.ran) for each in runs), 3),
        "p99_after_s": round(p99_s, 3),
        "p99_three_engines_s": round(three_s, 3),
        "of_three_engines": round(p99_s / three_s, 3),
        "settled_s": SETTLED_S,
    }


def _saturating(workload: Workload, on: SimulatedSystem, trials: Trials, seed: int) -> float:
    """Requests a second that end while far more are sent, from the end of the warm-up to the last arrival."""
    done = run(workload, workload.steady(FLOOD, trials.seconds, seed, trials.warm_s), seed, on)
    last_s = max(each.at_s for each in done.ran)
    return sum(trials.warm_s <= each.at_s + each.done_s < last_s for each in done.ran) / (last_s - trials.warm_s)


def _seeds(trials: Trials) -> range:
    return range(1, trials.seeds + 1)


def _share(runs: Sequence[Run], status: Status) -> float:
    ran = [each for done in runs for each in done.counted()]
    return sum(each.status is status for each in ran) / len(ran)


def _p99(ran: Sequence[Ran]) -> float:
    return percentile(sorted(each.done_s for each in ran), 0.99)
