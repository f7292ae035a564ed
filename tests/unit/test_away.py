"""A model waits for its engine where no worker of it has one that answers; only what lasts is told."""

from __future__ import annotations

import pytest

from alto_streams.agents.lm.away import Trouble
from alto_streams.cli.engine_notes import away_in, changes
from alto_streams.errors import EngineUnavailable
from alto_streams.wire.away import SETTLED_MS, STALE_MS, EngineAway, away_of

NOW = 1_000_000


def away(worker: str, since: int = 5_000, told: int = 0) -> EngineAway:
    return EngineAway(worker, f"engine of {worker}", "cannot be reached", NOW - since, NOW - told)


@pytest.mark.parametrize(
    ("told", "working", "found"),
    [
        ([], ["a"], None),
        ([away("a")], [], "a"),
        ([away("a")], ["a"], "a"),  # it has not noticed yet that its load counts for nothing
        ([away("a")], ["a", "b"], None),
        ([away("a", 5_000), away("b", 9_000)], [], "b"),
        ([away("a", told=STALE_MS)], [], None),
        ([away("a", told=STALE_MS), away("b")], [], "b"),
        ([away("a", SETTLED_MS - 1)], [], None),
    ],
)
def test_what_a_model_waits_for(told: list[EngineAway], working: list[str], found: str | None) -> None:
    said = away_of(told, working, NOW)
    assert (said and said.worker) == found


def test_trouble_begins_once_and_ends() -> None:
    times = iter([10, 20])
    trouble = Trouble(lambda: next(times))
    trouble.failed(EngineUnavailable("it refuses the API key", "engine http://h"))
    trouble.failed(EngineUnavailable("cannot be reached", "engine http://h"))
    assert (trouble.cause, trouble.since_ms) == ("cannot be reached", 10)
    trouble.over()
    assert trouble.cause is None
    trouble.failed(EngineUnavailable("cannot be reached"))
    assert trouble.since_ms == 20


def test_up_tells_each_change_once() -> None:
    health = {"engines": {"a": {"reachable": True}, "b": {"reachable": False, "engine": "engine x", "detail": "gone"}}}
    found = away_in(health)
    assert changes({}, found) == ["model b waits: engine x: gone"]
    assert changes(found, found) == []
    assert changes(found, {"b": "engine x: refuses the key"}) == ["model b waits: engine x: refuses the key"]
    assert changes(found, {}) == ["model b: its engine answers again"]
    assert away_in({"status": "ok"}) == {}
