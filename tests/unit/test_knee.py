"""The knee: found by halving, with few measurements, and no further off than their noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from loadtest.knee import OutOfReach, measurements, throughput_at


def counted(measure: Callable[[float], float]) -> tuple[Callable[[float], float], list[float]]:
    asked: list[float] = []

    def ask(rate: float) -> float:
        asked.append(rate)
        return measure(rate)

    return ask, asked


@pytest.mark.parametrize("knee", [0.6, 3.3, 7.99])
def test_a_smooth_curve_is_met_closer_than_the_tolerance(knee: float) -> None:
    measure, asked = counted(lambda rate: 4.0 * math.exp((rate - knee) / 3))
    assert throughput_at(measure, 4.0, 0.5, 8.0, 0.25) == pytest.approx(knee, abs=0.01)
    assert len(asked) == measurements(0.5, 8.0, 0.25) == 7
    assert all(0.5 <= rate <= 8.0 for rate in asked)


@pytest.mark.parametrize("seed", range(20))
def test_noise_moves_it_no_further_than_the_noise(seed: int) -> None:
    rng = random.Random(seed)

    def noisy(rate: float) -> float:
        return rate * rng.uniform(0.95, 1.05)

    assert throughput_at(noisy, 4.0, 0.5, 12.0, 0.1) == pytest.approx(4.0, rel=0.08)


def test_a_line_between_the_last_two_without_halving() -> None:
    assert throughput_at(lambda rate: 2 * rate, 3.0, 1.0, 2.0, 1.0) == 1.5


def test_what_is_overwhelmed_bounds_it_from_above() -> None:
    found = throughput_at(lambda rate: 1.0 if rate < 5 else math.inf, 4.0, 1.0, 9.0, 0.5)
    assert 4.5 <= found <= 5.0


def test_a_latency_that_no_rate_has_is_said() -> None:
    with pytest.raises(OutOfReach, match=r"mean is 6\.00 s at 1 requests/s, over 4 s already"):
        throughput_at(lambda rate: 5 + rate, 4.0, 1.0, 9.0, 0.5)
    with pytest.raises(OutOfReach, match=r"mean is 0\.90 s at 9 requests/s, not over 4 s yet"):
        throughput_at(lambda rate: rate / 10, 4.0, 1.0, 9.0, 0.5)


@pytest.mark.parametrize(("low", "high", "tolerance"), [(2.0, 1.0, 0.1), (1.0, 2.0, 0.0)])
def test_a_range_that_is_none(low: float, high: float, tolerance: float) -> None:
    with pytest.raises(ValueError, match="no range"):
        measurements(low, high, tolerance)
