"""What is left of requests after the horizon, in short: `python -m loadtest memory` measures the same at length."""

from __future__ import annotations

import pytest

from loadtest.kafka import Unavailable
from loadtest.memory import measure


def test_after_the_horizon_nothing_is_left() -> None:
    """No row in any worker, none in the changelogs, markers of at most 64 bytes, and memory that does not grow."""
    try:
        figures = measure(50, 200, at_once=8, horizon_s=10)  # no request may take longer
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")
    kept = figures["changelogs"]
    assert kept["markers"] >= 200
    assert kept["marker_bytes"] <= 64
    assert kept["rows"] == 0
    assert figures["after_the_horizon"]["worst_growth_percent"] <= 10
