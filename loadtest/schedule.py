"""The scheduling benchmark: what every policy makes of a mix that shifts, of an overload, and of a lost engine.

In virtual time, in the project's own simulator. Every run is a task for a process of its own, which makes the workload
once; what comes out depends on the plan and its seeds alone.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alto_streams.recordings.results import percentile
from alto_streams.scheduler.policies import POLICIES, PowerOfTwo, PromptAware, RoundRobin
from loadtest.decisions import decision_times
from loadtest.schedule_figures import MEAN_S, figures, interval, throughputs
from loadtest.schedule_mixes import MIXES, Arrival, Workload, write_mixes
from loadtest.schedule_runs import HOP_S, PREFIXES, SPEEDS, Run, run, system
from loadtest.schedule_trials import SESSION_S, Trials, loss, overload

OVER_ALL = len(MIXES)  # where a throughput is looked for, beside the phases


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How much is simulated: `requests` of each phase, after `before_s` of the one before where a phase is alone.

    `rate`: at which all policies' latencies are compared. `guess`: around which throughputs are looked for; requests/s.
    """

    seeds: int = 3
    requests: int = 240
    before_s: float = 60.0
    rate: float = 2.5
    guess: float = 2.5
    trials: Trials = field(default_factory=Trials)
    decisions: int = 20_000
    policies: tuple[str, ...] = tuple(POLICIES)

    @property
    def tasks(self) -> int:
        """Each of which is one tick."""
        return len(self.policies) * (OVER_ALL + 2) + 3

    def as_json(self) -> dict[str, Any]:
        """With what is fixed."""
        fixed = {"mean_s": MEAN_S, "speeds": SPEEDS, "prefixes": PREFIXES, "hop_s": HOP_S, "session_s": SESSION_S}
        return {**asdict(self), **fixed, "mixes": [asdict(mix) for mix in MIXES]}


FULL = BenchPlan()
QUICK = BenchPlan(
    seeds=1,
    requests=40,
    before_s=30.0,
    trials=Trials(seeds=1, seconds=36.0, warm_s=15.0, loads=(0.8, 1.5), lost_seconds=110.0),
    decisions=5_000,
    policies=(RoundRobin.name, PowerOfTwo.name, PromptAware.name),
)

_workload: Workload | None = None


def measure_schedule(
    recording: Path, plan: BenchPlan, jobs: int = 1, tick: Callable[[str], object] = lambda what: None
) -> dict[str, Any]:
    """All figures. `tick` hears of each task that has ended, with its name.

    Raises:
        ConfigError: the recording cannot be read.
        OutOfReach: there are too few requests for a throughput.
    """
    with TemporaryDirectory() as folder, _pool(recording, Path(folder) / "mixes.jsonl", jobs) as pool:
        tasks: dict[Future[Any], tuple[str, ...]] = {}
        found: dict[tuple[str, ...], Any] = {}

        def begin(name: tuple[str, ...], task: Callable[..., Any], *arguments: object) -> None:
            tasks[pool.submit(task, *arguments)] = name

        def finish() -> None:
            for done in as_completed(tasks):
                found[tasks[done]] = done.result()
                tick(tasks[done][0])
            tasks.clear()

        try:
            begin(("decisions",), _decisions, plan.decisions)
            for name in plan.policies:
                begin((name, "throughput", str(OVER_ALL)), _throughputs, name, OVER_ALL, plan, plan.guess)
                begin((name, "rate"), _at, name, plan)
            finish()
            begin(("overload",), _overload, plan.trials)
            begin(("loss",), _loss, plan.trials)
            for name, where in product(plan.policies, range(OVER_ALL)):  # around what is known by now
                over_all = found[name, "throughput", str(OVER_ALL)]["throughputs"][0]
                begin((name, "throughput", str(where)), _throughputs, name, where, plan, over_all)
            finish()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    policies = {name: _of_policy(name, found) for name in plan.policies}
    return {"policies": policies, "overload": found["overload",], "loss": found["loss",], **found["decisions",]}


def _pool(recording: Path, mixes: Path, jobs: int) -> ProcessPoolExecutor:
    """Of new processes: none that forks off one which knows another recording's sentences already."""
    write_mixes(recording, mixes)
    return ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (mixes,))


def _of_policy(name: str, found: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """Over all, then by phase."""
    at_rate = found[name, "rate"]
    places = [_place(found[name, "throughput", str(where)], at_rate[where]) for where in range(OVER_ALL + 1)]
    return {**places[OVER_ALL], "phases": {mix.name: places[n] for n, mix in enumerate(MIXES)}}


def _place(searched: dict[str, Any], at_rate: dict[str, Any]) -> dict[str, Any]:
    mean, half = interval(searched["throughputs"])
    return {
        "throughput_at_5600ms": round(mean, 4),
        "throughput_95": round(half, 4),
        "throughput_by_seed": [round(each, 4) for each in searched["throughputs"]],
        "prefix_hit_there": searched["prefix_hit"],
        **at_rate,
    }


def _begin(mixes: Path) -> None:
    global _workload
    _workload = Workload(mixes)


def _made() -> Workload:
    if _workload is None:
        raise RuntimeError("this process has not begun")
    return _workload


def _arrived(where: int, rate: float, plan: BenchPlan, seed: int) -> list[Arrival]:
    workload = _made()
    if where == OVER_ALL:
        return workload.phases(rate, plan.requests, seed)
    return workload.phase(where, rate, plan.requests, seed, plan.before_s)


def _throughputs(policy: str, where: int, plan: BenchPlan, over_all: float) -> dict[str, Any]:
    """Of each seed, looked for around what is known over all; and the share of prefixes cached in the runs nearest."""
    nearest: dict[int, Run] = {}

    def mean_s(rate: float, seed: int) -> float:
        on = system(_made(), policy)
        done = run(_made(), _arrived(where, rate, plan, seed), seed, on)
        if seed not in nearest or abs(done.mean_s - MEAN_S) < abs(nearest[seed].mean_s - MEAN_S):
            nearest[seed] = done
        return done.mean_s

    guess = over_all * (_made().factor(where) if where != OVER_ALL else 1.0)
    found = throughputs(mean_s, range(1, plan.seeds + 1), guess)
    hit = figures(list(nearest.values())).prefix_hit
    return {"throughputs": found, "prefix_hit": round(hit, 4)}


def _at(policy: str, plan: BenchPlan) -> list[dict[str, Any]]:
    """The figures of each phase, and over all, at the rate that all policies have in common."""
    on, seeds = system(_made(), policy), range(1, plan.seeds + 1)
    runs = [run(_made(), _arrived(OVER_ALL, plan.rate, plan, seed), seed, on) for seed in seeds]
    return [figures(runs, phase).as_json() for phase in (*range(OVER_ALL), None)]


def _overload(trials: Trials) -> dict[str, Any]:
    return overload(_made(), trials)


def _loss(trials: Trials) -> dict[str, Any]:
    return loss(_made(), trials)


def _decisions(count: int) -> dict[str, float]:
    """Of 32 workers, 24 partitions each class."""
    taken = sorted(decision_times(32, 24, count))
    return {f"decision_p{q}_us": round(percentile(taken, q / 100) * 1e6, 1) for q in (50, 99)}
