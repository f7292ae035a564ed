"""Whatever a dispatcher is told, it names a partition, keeps count, and overloads nobody."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alto_streams.scheduler.placing import Ask
from alto_streams.scheduler.policies import ESCAPE, HELD_UP, POLICIES, SLACK
from alto_streams.wire.plans import PREFILL, ClassForecast, Forecast, Load, Plan, Receipt
from alto_streams.wire.records import Call, Message
from tests.unit.test_scheduler_dispatch import (
    BY_TURNS,
    FORECAST,
    LANES,
    PARTITIONS,
    WORKERS,
    ask,
    dispatcher,
    load,
    receipt,
)

NAMES = st.sampled_from([*WORKERS, "gone", ""])
CLASS = st.sampled_from([lane.prompt_class for lane in LANES.values()])
WEIGHT = st.sampled_from([0.0, 1.0, 0.25, -1.0, 1e-300])
PLANS = st.builds(
    Plan,
    st.just("m"),
    st.integers(0, 5),
    st.just(0),
    st.just("any"),
    st.dictionaries(CLASS, st.lists(NAMES, max_size=PARTITIONS + 3)),
    st.dictionaries(CLASS, st.dictionaries(NAMES, WEIGHT)),
)
TIME = st.integers(0, 9_000)
LOADS = st.lists(
    st.builds(
        Load,
        st.sampled_from([*WORKERS, "gone"]),
        TIME,
        st.integers(0, 64),
        st.integers(0, 64),
        st.dictionaries(st.sampled_from(["me", "another", "third"]), st.integers(0, 5_000)),
        st.lists(CLASS),
        st.dictionaries(CLASS, st.lists(st.integers(-1, PARTITIONS + 1), unique=True)),
    )
)
LENGTH = st.sampled_from([0.0, 1.0, 40.0, 900.0])
FORECASTS = st.builds(
    Forecast,
    st.just("m"),
    st.just(0),
    st.dictionaries(CLASS, st.builds(ClassForecast, LENGTH, LENGTH, LENGTH, LENGTH, LENGTH, LENGTH, LENGTH)),
    st.dictionaries(NAMES, st.sampled_from([0.0, 0.5, 1.0, 4.0])),
)
REQUEST, PATH = st.sampled_from(["r0", "r1", "r2"]), st.sampled_from(["0", "1"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("plan"), PLANS),
        st.tuples(st.just("loads"), LOADS, TIME),
        st.tuples(st.just("forecast"), FORECASTS),
        st.tuples(st.just("place"), st.sampled_from(list(LANES)), REQUEST, PATH, TIME),
        st.tuples(st.just("place"), st.sampled_from(list(LANES)), REQUEST, PATH, TIME),
        st.tuples(st.just("over"), st.sampled_from(list(LANES)), REQUEST, PATH),
        st.tuples(st.just("forget"), st.sampled_from(list(LANES)), REQUEST),
    ),
    max_size=40,
)


@pytest.mark.parametrize("name", POLICIES)
@given(steps=STEPS)
@settings(deadline=None, max_examples=150)
def test_whatever_it_is_told_it_names_a_partition_and_keeps_count(name: str, steps: list[tuple[Any, ...]]) -> None:
    one, held = dispatcher(name), dict[tuple[str, str, str], Receipt]()
    for what, *args in steps:
        if what == "place":
            stage, request, path, at_ms = args
            call = Call([Message("user", "x" * 40)], max_tokens=8)
            placed = one.place(Ask(stage, request, path, 1, call, 0, at_ms))
            assert 0 <= placed.partition < PARTITIONS
            held[stage, request, path] = receipt(placed)
        elif what == "over":
            stage, request, path = args
            one.of(stage).over(request, path)
            held.pop((stage, request, path), None)
        elif what == "forget":
            stage, request = args
            one.of(stage).forget(request)
            held = {key: each for key, each in held.items() if key[:2] != (stage, request)}
        else:
            getattr(one, what)(*args)
        open_work = Counter[str]()
        for each in held.values():
            if each.chosen:
                open_work[each.chosen] += each.work
        assert one.work() == dict(open_work)
    for request in ("r0", "r1", "r2"):
        one.forget(request)
        one.forget(request)
    assert one.work() == {}


@given(
    seed=st.integers(0, 1_000),
    shared=st.lists(st.lists(st.sampled_from(WORKERS), min_size=1, max_size=4, unique=True), min_size=2, max_size=2),
    stages=st.lists(st.sampled_from(list(LANES)), min_size=100, max_size=400),
)
@settings(deadline=None, max_examples=60)
def test_no_worker_gets_much_more_than_the_mean(seed: int, shared: list[list[str]], stages: list[str]) -> None:
    """However few workers the plan gives a class: of those above the bound the calls escape, unless they gain nothing.

    A worker that keeps a call has at most 1.25 times what any other would have with it, and one has no more than the
    mean; so no worker has more than 1.25 times (the mean and a call), or the bound, and a call.
    """
    one = dispatcher(seed=seed)
    classes = [lane.prompt_class for lane in LANES.values()]
    weights = {each: dict.fromkeys(mine, 1.0) for each, mine in zip(classes, shared, strict=True)}
    one.plan(Plan("m", 1, 0, "few", dict.fromkeys(classes, BY_TURNS), weights))
    one.forecast(Forecast("m", 0, dict.fromkeys(classes, FORECAST.classes["p.answer"])))
    one.loads([load(w) for w in WORKERS], 1_000)
    for n, stage in enumerate(stages):
        one.place(ask(n, stage))
    work = one.work()
    mean = sum(work.values()) / len(WORKERS)
    a_call = 40 + PREFILL * (800 + 640 * HELD_UP * len(stages))
    assert max(work.values()) <= ESCAPE * mean + max(SLACK, ESCAPE * a_call) + a_call
