"""Engines are told apart by their speed and nothing else, whatever they read; plans stay while nothing changes."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from alto_streams.models.simulated import Timing
from alto_streams.scheduler.statistics import Statistics
from alto_streams.simulator import SimulatedRequest, SimulatedSystem, simulate
from alto_streams.wire.plans import Forecast, Plan
from alto_streams.wire.records import Call
from tests.unit.test_simulator import Instant, pipeline_with

RATE = 1.2  # requests a second
KNOWN_S = 60.0  # the first plan knows no calls yet; by then there may be another one
SLOWER = 0.25  # than the reference engine, so that fewer requests fill them


def script(prompt_class: str, call: Call) -> list[str]:
    """Three points of 20 tokens each; a verdict on each, of four."""
    if prompt_class == "small.points":
        return [*[f"{word} " for word in "abcdefghijklmnopqrs"], "one\n"] * 3
    return ['{"good"', ":", " true", "}\n"]


def lengths(prompt_class: str, call: Call) -> tuple[int, int]:
    """Little is to be cached in verdicts, whose prompts are long."""
    return (40, 660) if prompt_class == "small.judged" else (130, 15)


class Seen:
    """The plans, and what was thought of the engines' speeds; times in seconds."""

    def __init__(self) -> None:
        self.plans: list[tuple[float, Plan]] = []
        self.speeds: list[tuple[float, dict[str, float]]] = []

    def ended(self, at_s: float, worker: str, prompt_class: str, prefix: int, cached: int) -> None: ...

    def planned(self, at_s: float, plan: Plan) -> None:
        self.plans.append((at_s, plan))

    def expected(self, forecast: Forecast) -> None:
        """As the scheduler tells of it, once a second."""
        self.speeds.append((len(self.speeds), forecast.speeds))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    seen, forecast = Seen(), Statistics.forecast

    def told(statistics: Statistics, model: str, at_ms: int) -> Forecast:
        found = forecast(statistics, model, at_ms)
        seen.expected(found)
        return found

    monkeypatch.setattr(Statistics, "forecast", told)
    return seen


def run(seen: Seen, seed: int, minutes: float, *speeds: float) -> None:
    rng, at_s, requests = random.Random(seed), 0.0, list[SimulatedRequest]()
    while (at_s := at_s + rng.expovariate(RATE)) < 60 * minutes:
        requests.append(SimulatedRequest(len(requests), at_s, b'{"text": "a"}'))
    timing = Timing(prefixes=1).at_speed(SLOWER)
    system = SimulatedSystem(
        script, timing=timing, hop_s=0.004, lengths=lengths, policy="prompt_aware", engines=len(speeds), speeds=speeds
    )
    assert len(list(simulate(pipeline_with(Instant), requests, system, seed, seen))) == len(requests)


def error(seen: Seen, *speeds: float) -> float:
    """The greatest of any engine's speed, once they are known."""
    mean = sum(speeds) / len(speeds)
    return max(
        abs(found[f"engine-{n}"] / (speed / mean) - 1)
        for at_s, found in seen.speeds
        if at_s > KNOWN_S
        for n, speed in enumerate(speeds)
    )


@pytest.mark.parametrize(("seed", "minutes"), [(1, 10.0), (2, 2.0), (3, 2.0)])
def test_engines_that_are_equal_get_no_other_plan(seen: Seen, seed: int, minutes: float) -> None:
    run(seen, seed, minutes, 1.0, 1.0, 1.0, 1.0)
    assert [plan.cause for at_s, plan in seen.plans if at_s > KNOWN_S or "slow" in plan.cause] == []
    assert error(seen, 1.0, 1.0, 1.0, 1.0) < 0.15


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_slow_engine_is_found_and_gets_one_other_plan(seen: Seen, seed: int) -> None:
    run(seen, seed, 2.0, 1.0, 1.0, 1.0, 0.5)
    assert len(seen.plans) <= 2
    assert error(seen, 1.0, 1.0, 1.0, 0.5) < 0.15
