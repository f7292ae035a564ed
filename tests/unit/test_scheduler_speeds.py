"""How fast engines are, told from the paces of their calls, whatever else each of them has to do."""

from __future__ import annotations

import random

import pytest

from alto_streams.scheduler.decayed import PaceSums, speeds
from alto_streams.scheduler.statistics import Statistics
from alto_streams.wire.plans import Pace
from tests.unit.test_scheduler_statistics import after, report


def pace(running: float, speed: float, rng: random.Random) -> Pace:
    return Pace(running, (0.012 + 0.0008 * running) / speed * rng.uniform(0.85, 1.15), tokens=40)


@pytest.mark.parametrize("crowded", [False, True])
def test_speeds_are_told_apart_however_full_each_worker_is(crowded: bool) -> None:
    """A slow worker that is kept nearly empty is as slow as one that is full."""
    rng = random.Random(3)
    true = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.5}
    statistics = Statistics()
    for second in range(1, 61):
        for worker, speed in true.items():
            full = 12 if (worker == "d") == crowded else 3
            paces = [pace(full + rng.uniform(-3, 3), speed, rng) for _ in range(4)]
            statistics.take(report(second, worker=worker, paces=paces))
    found = statistics.forecast("chat", 60_000).speeds
    assert sum(found.values()) == pytest.approx(4.0, rel=1e-3)
    assert found["d"] / found["a"] == pytest.approx(0.5, abs=0.1)
    assert found["b"] / found["a"] == pytest.approx(1.0, abs=0.1)


def test_one_odd_call_makes_nobody_slow() -> None:
    statistics = after(20, worker="a", paces=[(4.0, 0.015)] * 4)
    after(20, statistics, worker="b", paces=[(4.0, 0.015)] * 4)
    statistics.take(report(20, worker="new", paces=[(1.0, 0.15)]))
    assert 0.7 < statistics.workers("chat", 20_000)["new"].speed < 1.1


def test_a_slow_worker_stays_known_as_slow_while_it_has_nothing_to_do() -> None:
    statistics = Statistics()
    for second in range(1, 61):
        statistics.take(report(second, worker="a", paces=[(4.0, 0.015)] * 4))
        statistics.take(report(second, worker="b", paces=[(4.0, 0.03)] * 4))
    for second in range(61, 1000):
        statistics.take(report(second, worker="a", paces=[(4.0, 0.015)] * 4))
        statistics.take(report(second, worker="b", calls=0))
    found = statistics.workers("chat", 999_000)
    assert found["b"].speed / found["a"].speed < 0.75


def test_another_engine_behind_a_worker_starts_anew() -> None:
    statistics = after(30, worker="a", paces=[(4.0, 0.015)] * 4)
    after(30, statistics, worker="b", paces=[(4.0, 0.03)] * 4)
    statistics.take(report(31, worker="a"))
    statistics.take(report(31, worker="b", engine="a better one"))
    assert statistics.workers("chat", 31_000)["b"].speed == pytest.approx(1.0, abs=0.1)


def test_workers_of_which_nothing_is_known_are_as_fast_as_the_mean() -> None:
    assert speeds({"a": PaceSums(0), "b": PaceSums(0)}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(("base_s", "call_s", "read_s"), [(0.012, 0.00025, 0.00009), (0.03, 0.012, 0.004)])
def test_a_worker_that_reads_much_is_not_slow(base_s: float, call_s: float, read_s: float) -> None:
    """Of a GPU and of a laptop; in whose time a prompt was read is not known well."""
    rng = random.Random(5)
    true = {"a": 1.0, "b": 0.5, "reads": 1.0, "reads slowly": 0.5}
    statistics = Statistics()
    for second in range(1, 61):
        for worker, speed in true.items():
            read, beside = rng.uniform(50, 400) if "reads" in worker else rng.uniform(0, 5), rng.uniform(2, 12)
            step_s = (base_s + call_s * beside + read_s * read) / speed
            paces = [(beside, step_s, read * (1 + error), 20) for error in (-0.9, -0.5, 0.5, 0.9)]
            statistics.take(report(second, worker=worker, paces=paces))
    found = statistics.forecast("chat", 60_000).speeds
    for worker, speed in true.items():
        assert found[worker] == pytest.approx(speed / 0.75, rel=0.1), worker


@pytest.mark.parametrize("pace", [Pace(0.0, 0.012, tokens=1), Pace(3.0, 0.013, tokens=1), Pace(0.0, 0.02, 30.0, 3)])
def test_always_the_same_shows_how_fast_each_is(pace: Pace) -> None:
    """One call at a time, calls of two tokens, the same prompts beside: nothing tells what slows a call down."""
    statistics = after(60, worker="a", paces=[pace] * 3)
    after(60, statistics, worker="b", paces=[pace._replace(token_s=2 * pace.token_s)] * 3)
    found = statistics.forecast("chat", 60_000).speeds
    assert found["b"] / found["a"] == pytest.approx(0.5, rel=0.1)


def test_a_few_hiccups_make_nobody_slow() -> None:
    statistics = after(30, worker="a", paces=[(4.0, 0.015, 20.0, 40)] * 4)
    hiccup = (4.0, 2.0, 20.0, 1)
    after(30, statistics, worker="b", paces=[*[(4.0, 0.015, 20.0, 40)] * 4, hiccup])
    assert statistics.workers("chat", 30_000)["b"].speed > 0.9
