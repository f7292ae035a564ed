"""When a call must begin, who waits less, and who waits in vain."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alto_streams.scheduler.slack import PATIENCE_MS, is_hopeless, latest_start, priority, rank
from alto_streams.wire.plans import ClassForecast, Receipt

TIMES = st.integers(0, 100_000)


def expected(call_s: float, rest_s: float) -> ClassForecast:
    return ClassForecast(100.0, 10.0, 20.0, call_s=call_s, rest_s=rest_s)


def test_the_rest_of_the_request_comes_off_the_deadline() -> None:
    assert latest_start(10_000, expected(0.5, 2.0)) == 7_500
    assert latest_start(10_000, None) == 10_000
    assert latest_start(None, expected(0.5, 2.0)) is None


def test_an_early_call_of_a_long_path_goes_before_a_late_one_of_the_same_request() -> None:
    early, late = latest_start(10_000, expected(0.5, 4.0)), latest_start(10_000, expected(0.5, 0.0))
    assert rank(early, 20, 100) < rank(late, 10, 100)


def test_hopeless_is_what_begins_too_late() -> None:
    assert not is_hopeless(8_000, 8_000)
    assert is_hopeless(8_000, 8_001)


def test_what_has_no_deadline_is_never_hopeless() -> None:
    assert not is_hopeless(None, 10**12)


def test_the_hopeless_go_behind_those_that_can_be_saved() -> None:
    lost, saved = 1_000, 3_000
    assert rank(lost, 0, at_ms=500) < rank(saved, 0, at_ms=500)
    assert rank(lost, 0, at_ms=2_500) > rank(saved, 0, at_ms=2_500)


@given(latest=TIMES, arrived=TIMES, another=TIMES)
def test_a_call_without_deadline_goes_first_in_the_end(latest: int, arrived: int, another: int) -> None:
    """Before it, once its patience has run out, goes only what came before it."""
    end = arrived + PATIENCE_MS
    assert rank(latest, another, end + 1) >= rank(None, min(arrived, another), end + 1)


@given(latest=TIMES, arrived=TIMES, times=st.lists(TIMES, min_size=2))
def test_a_rank_changes_once(latest: int, arrived: int, times: list[int]) -> None:
    ranks = [rank(latest, arrived, at) for at in sorted(times)]
    assert sum(one != two for one, two in pairwise(ranks)) <= 1
    for each, at in zip(ranks, sorted(times), strict=True):
        assert each == (arrived + PATIENCE_MS if is_hopeless(latest, at) else latest)


def test_an_engine_serves_in_the_same_order() -> None:
    told = [Receipt("slack", "", latest_ms=latest) for latest in (900, 2_000, None)]
    assert [priority(receipt, 1_000) for receipt in told] == [1_000 + PATIENCE_MS, 2_000, 1_000 + PATIENCE_MS]
    assert priority(None, 1_000) == 1_000 + PATIENCE_MS
