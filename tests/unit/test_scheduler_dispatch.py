"""A dispatcher keeps count of its calls, uses what it is told, and needs none of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from alto_streams.scheduler.dispatch import Dispatcher, Lane
from alto_streams.scheduler.loads import STALE_MS
from alto_streams.scheduler.placing import Ask, Placed
from alto_streams.scheduler.policies import POLICIES, policy
from alto_streams.wire.plans import PREFILL, ClassForecast, Forecast, Load, Plan, Receipt
from alto_streams.wire.records import Call, Message
from loadtest.decisions import decision_times

PARTITIONS = 8
LANES = {"answer": Lane("p.answer", PARTITIONS), "claims": Lane("p.claims", PARTITIONS)}
WORKERS = [f"w{n}" for n in range(4)]
BY_TURNS = [WORKERS[p % 4] for p in range(PARTITIONS)]
PLAN = Plan("m", 3, 0, "first", {"p.answer": BY_TURNS}, {"p.answer": {"w0": 0.5, "w1": 0.5}})
FORECAST = Forecast("m", 0, {"p.answer": ClassForecast(800.0, 40.0, 90.0, 640.0, 5.0, 0.5, 2.0)}, {"w1": 0.5})


def dispatcher(name: str = "prompt_aware", seed: int = 1) -> Dispatcher:
    return Dispatcher("me", "m", LANES, policy(name), seed)


def ask(number: int = 0, stage: str = "answer", at_ms: int = 1_000, **more: Any) -> Ask:
    call = Call([Message("user", "x" * 400)], max_tokens=64)
    return Ask(stage, f"r{number}", "0", 1, call, at_ms=at_ms, **more)


def load(worker: str, at_ms: int = 1_000, work: int = 0, calls: int = 0, **more: Any) -> Load:
    return Load(worker, at_ms, calls, 0, {"another": work}, **more)


def receipt(placed: Placed) -> Receipt:
    assert placed.receipt is not None
    return placed.receipt


def test_with_nothing_known_partitions_take_turns() -> None:
    one = dispatcher()
    placed = [one.place(ask(n)) for n in range(PARTITIONS)]
    assert sorted(each.partition for each in placed) == list(range(PARTITIONS))
    assert receipt(placed[0]) == Receipt("prompt_aware", "turn", "me", work=round(64 + PREFILL * 100))
    assert (one.decisions, one.blind, one.work()) == (PARTITIONS, PARTITIONS, {})


def test_a_plan_alone_gives_its_weights_and_says_that_it_is_blind() -> None:
    one = dispatcher()
    one.plan(PLAN)
    placed = [one.place(ask(n)) for n in range(100)]
    assert Counter(receipt(each).chosen for each in placed) == {"w0": 50, "w1": 50}
    assert {each.partition for each in placed} == {0, 4, 1, 5}
    assert {(receipt(each).reason, receipt(each).live, receipt(each).plan) for each in placed} == {
        ("weights", False, 3)
    }
    assert one.blind == 100


def test_what_others_hold_counts_and_its_own_calls_count_once() -> None:
    one = dispatcher()
    one.plan(PLAN)
    first = receipt(one.place(ask()))
    told = [Load(w, 1_000, 1, 0, {"me": first.work, "another": 100} if w == first.chosen else {}) for w in WORKERS]
    one.loads(told, 1_000)
    second = receipt(one.place(ask(1)))
    assert second.chosen == ({"w0", "w1"} - {first.chosen}).pop()
    assert {each.worker: each.work for each in second.candidates} == {
        first.chosen: first.work + 100,
        second.chosen: 0,
    }
    assert second.live
    assert one.blind == 1


def test_the_forecast_tells_lengths_speeds_and_the_latest_start() -> None:
    one = dispatcher()
    one.plan(PLAN)
    one.forecast(FORECAST)
    one.loads([load("w0", work=150, warm=["p.answer"]), load("w1", work=100, warm=["p.answer"])], 1_000)
    told = receipt(one.place(ask(deadline_ms=9_000)))
    assert told.chosen == "w0"  # 150 tokens at full speed are less than 100 at half
    assert told.work == 40 + PREFILL * (800 - 640)
    assert told.latest_ms == 6_500
    again = receipt(one.place(ask(1, written=80)))
    assert again.work == 40 - 80 / 4 + PREFILL * (800 - 640 + 80 * 2)  # 800 tokens are 400 characters


def test_a_call_makes_its_worker_warm_until_that_says_otherwise() -> None:
    one = dispatcher()
    one.plan(PLAN)
    one.forecast(FORECAST)
    one.loads([load("w0"), load("w1")], 1_000)
    one.place(ask())
    one.over("r0", "0")
    warm = receipt(one.place(ask(1, at_ms=1_050)))
    assert (warm.chosen, warm.reason) == ("w0", "warm")
    one.over("r1", "0")
    one.loads([load("w0", 1_100), load("w1", 1_100)], 1_100)  # another class has taken its place since
    assert receipt(one.place(ask(2, at_ms=1_100))).reason == "cold"


def test_what_workers_own_goes_before_what_the_plan_says() -> None:
    one = dispatcher()
    one.plan(PLAN)
    owned = {"w2": [0, 1, 2, 3], "w3": [4, 5, 6, 7]}
    one.loads([load(w, owned={"p.answer": mine}) for w, mine in owned.items()], 1_000)
    for n in range(20):
        placed = one.place(ask(n))
        assert placed.partition in owned[receipt(placed).chosen]
    one.loads([load(w, 1_500, owned={"p.answer": owned["w3" if w == "w2" else "w2"]}) for w in owned], 1_500)
    placed = one.place(ask(99))
    assert placed.partition not in owned[receipt(placed).chosen]


def test_a_silent_worker_gets_nothing_while_another_speaks() -> None:
    one = dispatcher()
    one.plan(PLAN)
    one.loads([load(w) for w in WORKERS], 1_000)
    late = 1_000 + STALE_MS + 1
    one.loads([load("w1", late, work=5_000)], late)
    placed = [receipt(one.place(ask(n, at_ms=late))) for n in range(10)]
    assert {each.chosen for each in placed} == {"w1"}
    assert all(each.live for each in placed)


def test_loads_that_are_stale_by_the_log_count_for_nothing() -> None:
    one = dispatcher()
    one.plan(PLAN)
    one.loads([load("w0", work=9_000), load("w1")], 1_000)
    assert receipt(one.place(ask(at_ms=1_000 + STALE_MS))).live
    for n in range(1, 9):
        told = receipt(one.place(ask(n, at_ms=1_001 + STALE_MS)))
        assert (told.reason, told.live) == ("weights", False)
    assert one.work()["w0"] > 0
    one.loads([load("w0", 4_000, work=9_000), load("w1", 4_000)], 4_000)
    assert receipt(one.place(ask(99))).live  # the log may be behind the loads


def test_an_older_plan_and_another_models_are_ignored() -> None:
    one = dispatcher()
    one.plan(PLAN)
    one.plan(Plan("m", 2, 0, "late", {"p.answer": ["w3"] * PARTITIONS}, {"p.answer": {"w3": 1.0}}))
    one.plan(Plan("other", 9, 0, "first", {"p.answer": ["w3"] * PARTITIONS}, {"p.answer": {"w3": 1.0}}))
    assert receipt(one.place(ask())).chosen != "w3"


def test_a_load_that_comes_late_says_nothing_new() -> None:
    one = dispatcher()
    one.plan(PLAN)
    one.loads([load("w0", 1_200), load("w1", 1_200, work=900)], 1_200)
    one.loads([load("w0", 1_100, work=5_000)], 1_200)
    assert receipt(one.place(ask())).chosen == "w0"


def test_a_plan_for_more_partitions_than_there_are_uses_those_there_are() -> None:
    one = dispatcher()
    one.plan(Plan("m", 1, 0, "more", {"p.answer": ["w0"] * (PARTITIONS + 4)}, {"p.answer": {"w0": 1.0}}))
    assert {one.place(ask(n)).partition for n in range(3 * PARTITIONS)} == set(range(PARTITIONS))


def test_stages_of_one_process_hold_their_own_calls() -> None:
    one = dispatcher()
    one.plan(Plan("m", 1, 0, "first", {"p.answer": ["w0"] * PARTITIONS, "p.claims": ["w1"] * PARTITIONS}))
    answer, claims = one.of("answer"), one.of("claims")
    answer.place(ask())
    claims.place(ask(stage="claims"))
    answer.over("r0", "0")
    assert set(one.work()) == {"w1"}
    claims.forget("r0")
    assert not one.work()


@pytest.mark.parametrize("name", POLICIES)
def test_a_seed_repeats_every_decision(name: str) -> None:
    def run(seed: int) -> list[Placed]:
        one = dispatcher(name, seed)
        one.plan(Plan("m", 1, 0, "first", {"p.answer": BY_TURNS}, {"p.answer": dict.fromkeys(WORKERS, 1.0)}))
        placed = []
        for n in range(60):
            one.loads([load(w, 1_000 + n, (n * 7 + i * 5) % 11, i) for i, w in enumerate(WORKERS)], 1_000 + n)
            placed.append(one.place(ask(n, at_ms=1_000 + n)))
        return placed

    assert run(5) == run(5)
    if name in ("power_of_two", "prompt_aware"):
        assert run(5) != run(6)


def test_a_decision_is_made_at_once() -> None:
    times = sorted(decision_times(32, 24, 4_000))
    assert times[len(times) // 2] < 100e-6  # the median: a busy machine has its own tail
