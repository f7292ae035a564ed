"""Which loads count: those of workers that still tell theirs, whatever their clocks say."""

from __future__ import annotations

import pytest

from alto_streams.scheduler.loads import STALE_MS, Fleet
from alto_streams.wire.plans import Load

NOW_MS, EVERY_MS = 1_000_000_000, 1_000


@pytest.mark.parametrize("apart_ms", [-3_600_000, -STALE_MS - 1, 0, STALE_MS + 1, 3_600_000])
def test_a_worker_counts_while_it_tells_its_load_however_its_clock_goes(apart_ms: int) -> None:
    fleet = Fleet("sender")
    for at_ms in range(NOW_MS, NOW_MS + 10_000, EVERY_MS):
        fleet.loads([Load("w", at_ms + apart_ms, 1, 0, {"x": 70})], at_ms + 5)
        assert at_ms == NOW_MS or (fleet.workers["w"].live, fleet.workers["w"].theirs) == (True, 70)
    last = Load("w", at_ms + apart_ms, 1, 0, {"x": 70})
    fleet.loads([last], at_ms + STALE_MS)
    assert fleet.workers["w"].live
    fleet.loads([last], at_ms + STALE_MS + 10)
    assert not fleet.workers["w"].live


def test_what_a_dead_worker_has_left_does_not_count() -> None:
    """Neither at the first look nor after a pause in which nothing was read."""
    fleet = Fleet("sender")
    fleet.loads([Load("w", NOW_MS - STALE_MS - 1, 1, 0)], NOW_MS)
    assert not fleet.workers["w"].live
    fleet.loads([Load("w", NOW_MS + 100, 1, 0)], NOW_MS + 105)
    assert fleet.workers["w"].live
    fleet.loads([Load("w", NOW_MS + 3_000, 1, 0)], NOW_MS + 3_000 + STALE_MS + 10)
    assert not fleet.workers["w"].live
