"""The short form of `make chaos`: parts die, freeze and forget under load, and no client loses anything by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.chaos import Options, measure
from loadtest.chaos_plan import Amount
from loadtest.kafka import Unavailable, kafka_jars
from tests.e2e.systems import ROWS

SHORT = Options(
    Amount(kills=1, stops=1, leaves=1, redis_restarts=1, lone_lm=0.0), rate=1.0, least=0, session_s=4.0, calm_s=2.0
)


async def test_clients_notice_a_pause_and_nothing_else(tmp_path: Path) -> None:
    """A seed of its own each time would find more; a failure must be had again, so it is always the same."""
    try:
        kafka_jars()
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")
    figures = await measure(SHORT, ROWS, tmp_path, print)
    assert figures["clean"], figures["details"]
    assert (figures["kills"], figures["stops"], figures["leaves"], figures["redis_restarts"]) == (2, 1, 1, 1)
    assert figures["requests"] > 10
    assert figures["log"]["events"] > 0
