"""How a plan becomes an assignment, whoever is there; and which plans a worker follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.agents.assignor import carry_out, describe
from alto_streams.agents.plan_feed import PlanFeed
from alto_streams.records import encode
from alto_streams.scheduling import Forecast, Plan, PlanRecord

WORKERS = ["http://a:1", "http://b:1", "http://c:1", "http://d:1"]
NAMES = st.sampled_from(WORKERS)


@given(
    owners=st.dictionaries(st.sampled_from(["x", "y", "z"]), st.lists(NAMES, max_size=12)),
    counts=st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(1, 10), min_size=1),
    there=st.sets(NAMES, min_size=1),
)
def test_every_partition_has_one_owner_and_it_is_the_planned_one_where_that_is_there(
    owners: Mapping[str, Sequence[str]], counts: Mapping[str, int], there: set[str]
) -> None:
    owned = carry_out(owners, counts, dict.fromkeys(counts, sorted(there)))
    assert set(owned) == there
    for topic, count in counts.items():
        assert sorted(p for topics in owned.values() for p in topics[topic]) == list(range(count))
        for partition, owner in enumerate(owners.get(topic, [])[:count]):
            assert owner not in there or partition in owned[owner][topic]


def test_what_a_lost_worker_had_goes_to_who_has_least() -> None:
    owners = {"x": ["a", "a", "lost", "lost", "lost", "b"], "y": ["a", "a", "b", "lost"]}
    owned = carry_out(owners, {"x": 6, "y": 5}, {"x": ["a", "b", "new"], "y": ["a", "b", "new"]})
    assert owned == {
        "a": {"x": [0, 1], "y": [0, 1]},
        "b": {"x": [4, 5], "y": [2, 4]},
        "new": {"x": [2, 3], "y": [3]},
    }


def test_a_worker_gets_only_topics_that_it_has_subscribed_to() -> None:
    owned = carry_out({"x": ["a", "b"]}, {"x": 2}, {"x": ["b"]})
    assert owned == {"b": {"x": [0, 1]}}


def test_the_log_says_who_has_how_much() -> None:
    owned = {"http://b:1": {"work.p.s": [0, 2], "work.p.t": []}, "http://a:1": {"work.p.s": [], "work.p.t": []}}
    assert describe(owned) == "http://a:1 has nothing; http://b:1 has p.s 2"


@pytest.mark.parametrize(
    ("records", "plans", "forecasts"),
    [
        ([Plan("judge", 2, 0, "x"), Plan("judge", 1, 9, "x"), Plan("judge", 2, 9, "x")], [2], []),
        ([Plan("chat", 1, 0, "x"), Plan("judge", 1, 0, "x"), Plan("judge", 5, 0, "x")], [1, 5], []),
        ([Forecast("judge", 5), Forecast("judge", 5), Forecast("chat", 9), Forecast("judge", 7)], [], [5, 7]),
    ],
)
def test_only_what_is_newer_is_followed(records: list[PlanRecord], plans: list[int], forecasts: list[int]) -> None:
    versions: list[int] = []
    times: list[int] = []
    feed = PlanFeed(
        lambda: None,  # type: ignore[arg-type,return-value]
        ["judge"],
        lambda plan: versions.append(plan.version),
        lambda forecast: times.append(forecast.at_ms),
    )
    for record in records:
        feed._take(SimpleNamespace(value=encode(record)))
    assert (versions, times) == (plans, forecasts)
