"""The scheduling benchmark: its mixes, its figures, what it holds them against, and a small run of it all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alto_streams.pipelines.factcheck.script import load_rows
from alto_streams.scheduler.policies import POLICIES
from alto_streams.wire.records import Status
from loadtest.console import RECORDING
from loadtest.knee import OutOfReach
from loadtest.reference.workload import load_workload
from loadtest.schedule import BenchPlan, measure_schedule
from loadtest.schedule_claims import claims
from loadtest.schedule_figures import MEAN_S, figures, interval, throughputs
from loadtest.schedule_mixes import MIXES, Workload, write_mixes
from loadtest.schedule_runs import Ran, Run
from loadtest.schedule_trials import Trials


@pytest.fixture
def workload(tmp_path: Path) -> Iterator[Workload]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALTO_REFERENCE_RECORDING", "")
        write_mixes(RECORDING, tmp_path / "mixes.jsonl")
        yield Workload(tmp_path / "mixes.jsonl")


def test_the_first_mix_is_the_reference_workload(workload: Workload) -> None:
    recorded = load_workload(RECORDING)
    assert [each.tokens for each in workload.requests[0]] == [each.tokens for each in recorded]
    for mine, other in zip(workload.requests[0], recorded, strict=True):
        ours = [(each.line, each.queries, each.verdict, each.label) for each in mine.claims]
        assert ours == [(each.line, each.queries, each.verdict, each.label) for each in other.claims]


def test_each_mix_writes_as_its_factors_say(workload: Workload) -> None:
    for mix, mine in zip(MIXES, workload.requests, strict=True):
        recorded = [row for row in load_rows(RECORDING) if row.claims]
        for each, row in zip(mine, recorded, strict=True):
            assert len(each.claims) == len(row.claims[:: mix.claims_of])
        queries = sum(claim.queries for each in mine for claim in each.claims)
        calls = sum(len(each.claims) for each in mine)
        assert queries / calls == pytest.approx(30 * mix.queries, rel=0.06)


def test_phases_follow_one_another_with_as_much_work_a_second(workload: Workload) -> None:
    arrived = workload.phases(4.0, 400, 1)
    assert [each.at_s for each in arrived] == sorted(each.at_s for each in arrived)
    assert [each.phase for each in arrived] == sorted(each.phase for each in arrived)
    for phase in range(len(MIXES)):
        times = [each.at_s for each in arrived if each.phase == phase]
        assert len(times) == 400
        assert 400 / (times[-1] - times[0]) == pytest.approx(4.0 * workload.factor(phase), rel=0.15)
    alone = workload.phase(2, 3.0, 100, 1, 20.0)
    assert {each.phase for each in alone if each.counted} == {2}
    assert {each.phase for each in alone if not each.counted} == {1}


def ran(at_s: float, done_s: float, phase: int = 0, good: bool = True, counted: bool = True) -> Ran:
    return Ran(at_s, phase, counted, Status.OK, done_s, good)


def test_figures_are_of_what_counts() -> None:
    run = Run()
    run.ran = [ran(0, 50, counted=False), *(ran(n, 1.0 + n % 2) for n in range(1, 12)), ran(12, 9.0, 1, good=False)]
    run.prefixes = [(0.0, 100, 0), *((float(n), 100, 75) for n in range(1, 12)), (12.0, 100, 0)]
    first = figures([run], 0)
    assert (first.n, first.wrong, first.p99_s, first.p50_s) == (11, 0, 2.0, 2.0)
    assert first.mean_s == pytest.approx((6 * 2 + 5) / 11)
    assert first.prefix_hit == 0.75
    assert first.goodput == first.achieved == pytest.approx(1.1)
    every = figures([run])
    assert (every.n, every.wrong, every.p99_s) == (12, 1, 9.0)
    assert every.goodput == pytest.approx(1.0)


@pytest.mark.parametrize("knee", [0.7, 2.5, 9.0])
def test_throughputs_are_found_from_any_guess_in_few_runs(knee: float) -> None:
    asked: list[tuple[float, int]] = []

    def mean_s(rate: float, seed: int) -> float:
        asked.append((rate, seed))
        return 3.0 + (MEAN_S - 3.0) * (rate / (knee * (1 + 0.02 * seed))) ** 2

    found = throughputs(mean_s, (0, 1, 2), 2.5)
    assert found == pytest.approx([knee, knee * 1.02, knee * 1.04], rel=0.01)
    assert len(asked) == len(set(asked)) <= 17


def test_what_is_never_reached_is_said() -> None:
    for mean_s in (1.0, 10.0):
        with pytest.raises(OutOfReach):
            throughputs(lambda rate, seed, mean_s=mean_s: mean_s, (1,), 2.5)  # type: ignore[misc]


def test_an_interval_is_students() -> None:
    assert interval([2.0]) == (2.0, 0.0)
    mean, half = interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.30 / 3**0.5))


def found(ours: float, plan_after_s: float = 10.5, wrong: int = 0, hit: float = 0.95) -> dict[str, object]:
    """Figures in which every other policy's throughput is 2.0."""

    def place(name: str) -> dict[str, object]:
        rate = ours if name == "prompt_aware" else 2.0
        told = {"throughput_at_5600ms": rate, "throughput_by_seed": [rate, rate]}
        return told | {"prefix_hit": hit, "prefix_hit_there": 0.99}

    kept = {"peak": 2.0, "of_peak": 0.95}
    return {
        "policies": {name: {**place(name), "phases": {mix.name: place(name) for mix in MIXES}} for name in POLICIES},
        "decision_p99_us": 60.0,
        "overload": {"least_slack_and_shedding": kept, "without": kept},
        "loss": {
            "plan_after_s": plan_after_s,
            "lost_requests": wrong,
            "requests": 100,
            "p99_after_s": 8.0,
            "of_three_engines": 1.1,
        },
    }


def test_claims_are_met_by_what_is_asked_and_by_nothing_less() -> None:
    assert all(each.met for each in claims(found(3.0), 10.0))
    assert sum(not each.met for each in claims(found(2.5), 10.0)) == 1  # 1.25 times round robin
    assert sum(not each.met for each in claims(found(1.85), 10.0)) == 5  # and below the others, in each phase
    assert sum(not each.met for each in claims(found(3.0, plan_after_s=11.1), 10.0)) == 1
    assert sum(not each.met for each in claims(found(3.0, wrong=1), 10.0)) == 1
    assert sum(not each.met for each in claims(found(3.0, hit=0.89), 10.0)) == 1


@pytest.mark.timeout(1200)
def test_a_small_benchmark_gives_every_figure(workload: Workload) -> None:
    trials = Trials(1, 12.0, 3.0, (0.5, 1.5), 1.2, 100.0)
    plan = BenchPlan(1, 16, 3.0, 2.0, 5.0, trials, 500, ("prompt_aware",))
    ticks: list[str] = []
    measured = measure_schedule(RECORDING, plan, tick=ticks.append)
    assert len(ticks) == plan.tasks
    json.dumps(measured)
    for each in measured["policies"].values():
        for place in (each, *each["phases"].values()):
            assert place["throughput_at_5600ms"] > 0.5
            assert 0.3 < place["prefix_hit"] <= 1.0
            assert place["wrong"] == 0
            assert {"p99_s", "goodput", "mean_s"} <= set(place)
    assert set(measured["policies"]["prompt_aware"]["phases"]) == {mix.name for mix in MIXES}
    assert measured["decision_p99_us"] > 0
    assert measured["overload"]["least_slack_and_shedding"]["loads"]["1.5"]["goodput"] > 0
    assert measured["loss"]["lost_requests"] == 0
