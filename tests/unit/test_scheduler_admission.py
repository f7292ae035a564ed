"""The bound on requests under way: it comes to rest where its share of them is in time, from either side."""

from __future__ import annotations

import random

import pytest

from alto_streams.scheduler.admission import FREE_MS, LEAST, SHARE, Admission


def settle(bound_in_time: float, first: float) -> float:
    """The bound after many requests, of which the share that it is after is in time when so many are under way."""
    rng, admission, number = random.Random(1), Admission(first=first), 0
    for _ in range(4_000):
        while admission.admit(f"r{number}", 1_000, 0):
            number += 1
        oldest = f"r{number - len(admission)}"
        admission.ended(oldest, rng.random() < 1 / (1 + (1 / SHARE - 1) * len(admission) / bound_in_time))
    return admission.bound


@pytest.mark.parametrize("first", [4.0, 40.0, 400.0])
def test_it_finds_how_many_meet_their_deadline(first: float) -> None:
    assert settle(40.0, first) == pytest.approx(40.0, rel=0.35)


def test_it_never_closes_and_opens_no_further_than_it_is_used() -> None:
    admission = Admission(first=8.0)
    for number in range(500):
        assert admission.admit(f"late-{number}", 1_000, 0)
        admission.ended(f"late-{number}", met=False)
    assert admission.bound == LEAST
    for number in range(500):
        assert admission.admit(f"good-{number}", 1_000, 0)
        admission.ended(f"good-{number}", met=True)
    assert admission.bound == LEAST  # one at a time binds nobody


def test_a_request_that_comes_again_counts_once() -> None:
    admission = Admission(first=4.0)
    assert all(admission.admit(name, 1_000, 0) for name in "abcdabcd")
    assert not admission.admit("e", 1_000, 0)
    assert len(admission) == 4
    admission.ended("x", met=False)
    assert admission.bound == 4.0
    admission.ended("a", met=False)
    admission.ended("a", met=False)
    assert len(admission) == 3
    assert admission.admit("e", 1_000, 0)


def test_a_place_is_free_once_the_deadline_is_long_past() -> None:
    """A request that has moved to another worker with its partition ends there: nobody says so here."""
    admission = Admission(first=4.0)
    assert all(admission.admit(name, 5_000, 1_000) for name in "abcd")
    assert not admission.admit("e", 9_000, 5_000 + FREE_MS - 1)
    assert (admission.refused, len(admission)) == (1, 4)
    assert admission.admit("e", 9_000, 5_000 + FREE_MS)
    assert len(admission) == 1
    admission.ended("a", met=True)
    assert (admission.bound, len(admission)) == (4.0, 1)
