"""The bound on requests under way: it comes to rest where its share of them is in time, from either side."""

from __future__ import annotations

import random

import pytest

from alto_streams.scheduler.admission import LEAST, SHARE, Admission


def settle(bound_in_time: float, first: float) -> float:
    """The bound after many requests, of which the share that it is after is in time when so many are under way."""
    rng, admission, number = random.Random(1), Admission(first=first), 0
    for _ in range(4_000):
        while admission.admit(f"r{number}"):
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
        assert admission.admit(f"late-{number}")
        admission.ended(f"late-{number}", met=False)
    assert admission.bound == LEAST
    for number in range(500):
        assert admission.admit(f"good-{number}")
        admission.ended(f"good-{number}", met=True)
    assert admission.bound == LEAST  # one at a time binds nobody


def test_a_request_that_comes_again_counts_once() -> None:
    admission = Admission(first=4.0)
    assert all(admission.admit(name) for name in "abcdabcd")
    assert not admission.admit("e")
    assert len(admission) == 4
    admission.ended("x", met=False)
    assert admission.bound == 4.0
    admission.ended("a", met=False)
    admission.ended("a", met=False)
    assert len(admission) == 3
    assert admission.admit("e")
