"""What a cancel does at the engine, in short: `python -m loadtest cancel` measures the same at length."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.cancel import CALLS_OF_REQUEST, measure
from loadtest.kafka import Unavailable


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    try:
        return measure(2)
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")


@pytest.mark.parametrize("redis", ["redis", "redis_stopped"])
@pytest.mark.parametrize("kind", ["request", "item"])
def test_cancelled_calls_are_over_at_once(figures: dict[str, Any], redis: str, kind: str) -> None:
    """Half of them within 100 ms of the answer, none after a second. So few cancels tell nothing of the last 5 %."""
    found = figures[redis][kind]
    expected = 2 * CALLS_OF_REQUEST if kind == "request" else 2 * (CALLS_OF_REQUEST - 1)
    assert (found["calls"], found["running_after_1s"]) == (expected, 0)
    assert found["since_accepted"]["p50_ms"] <= 100
