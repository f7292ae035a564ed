"""What is learned from the reports of LM workers, and how fast; what is expected without any."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alto_streams.errors import Poison
from alto_streams.pipelines.factcheck import pipeline
from alto_streams.scheduler.decayed import ClassSums
from alto_streams.scheduler.downstream import downstream
from alto_streams.scheduler.statistics import Statistics, demand
from alto_streams.wire.codec import decoder, encode
from alto_streams.wire.plans import ClassForecast, ClassReport, EngineReport, Pace

CLASS = "factcheck.answer"


def report(
    second: int,
    *,
    worker: str = "w0",
    calls: int = 4,
    outputs: list[int] | None = None,
    prompt_class: str = CLASS,
    cached: int = 0,
    paces: Iterable[tuple[float, ...]] = (),
    **more: object,
) -> EngineReport:
    """A worker's report of one second in which so many calls ended; each had a prompt of 500 tokens."""
    lengths = [80] * calls if outputs is None else outputs
    of_class = ClassReport(
        prompt_class,
        arrived=len(lengths),
        ended=len(lengths),
        prompt_tokens=500 * len(lengths),
        cached_tokens=cached * len(lengths),
        cached_most=cached,
        output_tokens=lengths,
        first_token_s=0.3 * len(lengths),
        call_s=0.01 * sum(lengths),
    )
    told = EngineReport("chat", worker, f"engine of {worker}", second * 1000, 1.0, 8, classes=[of_class])
    return msgspec.structs.replace(told, paces=[Pace(*each) for each in paces], **more)


def after(seconds: int, statistics: Statistics | None = None, start: int = 1, **report_of: object) -> Statistics:
    """Statistics that have heard of so many seconds, all alike."""
    statistics = statistics or Statistics()
    for second in range(start, start + seconds):
        statistics.take(report(second, **report_of))  # type: ignore[arg-type]
    return statistics


def test_without_reports_all_classes_are_alike() -> None:
    forecast = Statistics(course=downstream(pipeline)).forecast("judge", 0)
    assert forecast.speeds == {}
    assert len({(each.prompt_tokens, each.output_tokens, each.rate) for each in forecast.classes.values()}) <= 1
    everything = [
        name
        for model in pipeline.models()
        for name in Statistics(course=downstream(pipeline)).forecast(model, 0).classes
    ]
    assert sorted(everything) == sorted(
        f"factcheck.{stage}" for stages in pipeline.models().values() for stage in stages
    )


def test_a_class_is_what_was_reported_of_it() -> None:
    rng = random.Random(1)
    statistics = Statistics()
    for second in range(1, 301):
        statistics.take(report(second, outputs=[rng.randint(1, 200) for _ in range(4)], cached=340))
    state = statistics.classes("chat", 300_000)[CLASS]
    assert state.rate == pytest.approx(4.0, rel=0.05)
    assert state.prompt_tokens == pytest.approx(500, rel=0.01)
    assert state.output_tokens == pytest.approx(100, rel=0.15)
    assert state.output_upper == pytest.approx(180, rel=0.15)
    assert state.prefix_tokens == 340
    assert state.hit_rate == pytest.approx(1.0, rel=0.01)
    assert state.first_token_s == pytest.approx(0.3, rel=0.01)
    assert state.token_s == pytest.approx(0.01, rel=0.01)
    assert state.call_s == pytest.approx(0.3 + state.output_tokens * 0.01, rel=0.02)


def test_rates_are_right_from_the_first_second_and_fall_when_nothing_comes() -> None:
    statistics = after(2)
    assert statistics.forecast("chat", 2_000).classes[CLASS].rate == pytest.approx(4.0, rel=0.1)
    after(300, statistics, start=3)
    assert statistics.forecast("chat", 332_000).classes[CLASS].rate == pytest.approx(2.0, rel=0.1)
    assert statistics.forecast("chat", 902_000).classes[CLASS].rate < 0.01


def test_rates_are_those_of_all_workers() -> None:
    statistics = Statistics()
    for second in range(1, 61):
        for worker in ("a", "b", "c"):
            statistics.take(report(second, worker=worker))
    assert statistics.forecast("chat", 60_000).classes[CLASS].rate == pytest.approx(12.0, rel=0.05)


def test_lengths_follow_a_shift_and_stay_when_nothing_comes() -> None:
    statistics = after(300, outputs=[100] * 4)
    after(60, statistics, start=301, outputs=[20] * 4)  # two half-lives
    now = statistics.classes("chat", 360_000)[CLASS]
    assert now.output_tokens == pytest.approx(20 + 80 / 4, rel=0.05)
    later = statistics.classes("chat", 40_000_000)[CLASS]
    assert later.output_tokens == now.output_tokens


def test_an_engine_that_counts_nothing_of_what_it_writes_is_not_endlessly_slow() -> None:
    statistics, uncounted = Statistics(), ClassReport(CLASS, 1, 1, 500, 0, 0, [0], 0.3, 5.0)
    for second in range(1, 60):
        statistics.take(msgspec.structs.replace(report(second), classes=[uncounted]))
    assert statistics.forecast("chat", 60_000).classes[CLASS].call_s < 20


@pytest.mark.parametrize("wrong", [{"at_ms": 10**30}, {"span_s": 1e306}, {"slots": -1}, {"work": 10**30}])
def test_a_report_that_cannot_be_is_not_read(wrong: dict[str, float]) -> None:
    with pytest.raises(Poison):
        decoder(EngineReport)(encode(msgspec.structs.replace(report(1), **wrong)))


def test_a_few_calls_count_less_than_the_priors() -> None:
    one = after(1, outputs=[1000]).classes("chat", 1_000)[CLASS]
    assert 100 < one.output_tokens < 500
    assert after(60, outputs=[1000]).classes("chat", 60_000)[CLASS].output_tokens == pytest.approx(1000, rel=0.05)


def test_the_prefix_is_what_calls_are_spared_at_most_and_misses_are_seen() -> None:
    statistics = Statistics()
    for second in range(1, 201):
        statistics.take(report(second, cached=340 if second % 4 == 0 else 0))
    state = statistics.classes("chat", 200_000)[CLASS]
    assert state.prefix_tokens == pytest.approx(340, rel=0.05)
    assert state.hit_rate == pytest.approx(0.25, rel=0.15)
    (worker,) = statistics.workers("chat", 200_000).values()
    assert worker.hit_rate == pytest.approx(0.25, rel=0.15)


def test_a_report_that_comes_again_changes_nothing() -> None:
    once, twice = after(50), after(50)
    for second in (50, 49, 3):
        twice.take(report(second, outputs=[9999]))
    assert once.sums("chat") == twice.sums("chat")


def test_a_late_report_counts_by_its_own_time() -> None:
    statistics = after(120)
    statistics.take(report(1, worker="late", outputs=[100_000]))  # four half-lives ago
    assert statistics.classes("chat", 120_000)[CLASS].output_tokens < 250
    statistics.take(report(121, worker="prompt", outputs=[100_000]))
    assert statistics.classes("chat", 121_000)[CLASS].output_tokens > 500


def test_workers_go_when_they_are_silent_or_say_so() -> None:
    statistics = Statistics(lost_s=5.0)
    for worker in ("a", "b", "c"):
        statistics.take(report(1, worker=worker, running=3, waiting=2, work=700))
    statistics.take(report(2, worker="b", left=True))
    statistics.take(report(4, worker="a"))
    assert set(statistics.workers("chat", 5_000)) == {"a", "c"}
    assert set(statistics.workers("chat", 7_000)) == {"a"}
    assert statistics.workers("chat", 5_000)["c"].work == 700
    statistics.take(report(8, worker="b"))  # it is back
    assert set(statistics.workers("chat", 8_000)) == {"a", "b"}


def test_workers_of_long_ago_are_forgotten() -> None:
    statistics = after(1, worker="old")
    statistics.take(report(1000, worker="new"))
    statistics.forget("chat", 1_000_000)
    assert set(statistics.sums("chat").workers) == {"new"}


def test_what_is_left_of_a_request_is_its_longest_way() -> None:
    course = downstream(pipeline)
    assert set(course.after["factcheck.claims"]) >= {"factcheck.queries", "factcheck.verdict"}
    took = {"factcheck.answer": 5.0, "factcheck.claims": 1.0, "factcheck.queries": 0.5, "factcheck.verdict": 2.0}
    rest_s = course.rest_s(took)
    assert rest_s["factcheck.verdict"] == 0.0
    assert rest_s["factcheck.queries"] == pytest.approx(0.2 + 2.0)  # the search is a map
    assert rest_s["factcheck.answer"] == pytest.approx(1.0 + 0.5 + 0.2 + 2.0)


def test_work_is_what_is_written_and_what_is_read_beyond_the_prefix() -> None:
    told = ClassForecast(prompt_tokens=900, output_tokens=50, output_upper=90, prefix_tokens=100, rate=2.0)
    assert demand({"a": told}) == {"a": 2.0 * (50 + 800 / 8)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_a_quantile_is_within_a_bucket_of_the_true_one(lengths: list[int], quantile: float) -> None:
    sums = ClassSums(0, 1000)
    sums.take(ClassReport("a", ended=len(lengths), output_tokens=lengths), 1000, 1.0, 30.0)
    ordered = [max(1, length) for length in sorted(lengths)]
    place = quantile * len(ordered)
    low, high = ordered[max(0, int(place - 1e-6) - 1)], ordered[min(len(ordered) - 1, int(place) + 1)]
    assert low / 1.16 <= sums.upper(quantile) <= high * 1.16


messy = st.tuples(
    st.sampled_from("abc"),
    st.integers(0, 10**7),
    st.lists(st.integers(0, 5000), max_size=4),
    st.lists(st.tuples(*[st.floats(-1, 1e7)] * 3, st.integers(-1, 10**9)), max_size=4),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(messy, max_size=30), st.integers(0, 10**8))
def test_whatever_is_reported_in_whatever_order_the_forecast_is_sane(
    told: list[tuple[str, int, list[int], list[tuple[float, ...]]]], at_ms: int
) -> None:
    statistics = Statistics(lost_s=1e9)
    for worker, second, outputs, paces in told:
        statistics.take(report(second, worker=worker, outputs=outputs, paces=paces, cached=100))
    forecast = statistics.forecast("chat", at_ms)
    for each in forecast.classes.values():
        assert 0 <= each.rate < 1000
        assert 0 <= each.output_tokens <= 5000
        assert 0 <= each.prefix_tokens <= 100
    assert all(0.02 < speed < 50 for speed in forecast.speeds.values())
    if forecast.speeds:
        assert sum(forecast.speeds.values()) / len(forecast.speeds) == pytest.approx(1.0, abs=1e-3)
