"""How a plan becomes an assignment, whoever is there; and which plans a worker follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.agents.lm.assignor import PlanAssignor, carry_out, describe, make_room
from alto_streams.agents.scheduler.plan_feed import PlanFeed
from alto_streams.scheduler.partitions import unplanned
from alto_streams.wire.plans import Forecast, Plan, PlanRecord
from alto_streams.wire.records import encode

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


@given(counts=st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(1, 30), min_size=1))
def test_the_first_plan_knows_who_owns_what_without_one(counts: Mapping[str, int]) -> None:
    there = WORKERS[:3]
    owned = carry_out({}, counts, dict.fromkeys(counts, there))
    expected = unplanned(counts, there)
    assert {name: [next(w for w in there if p in owned[w][name]) for p in range(n)] for name, n in counts.items()} == (
        expected
    )


@given(
    owners=st.dictionaries(st.sampled_from(["x", "y", "z"]), st.lists(NAMES, min_size=1, max_size=24), min_size=1),
    new=st.sets(st.sampled_from(["http://new:1", "http://new:2"]), min_size=1),
)
def test_without_a_scheduler_those_that_come_get_an_even_share_and_nobody_loses_more_than_it_takes(
    owners: Mapping[str, Sequence[str]], new: set[str]
) -> None:
    there = sorted({*WORKERS, *new})
    shared = make_room(owners, dict.fromkeys(owners, there), WORKERS)
    for topic, mine in shared.items():
        share = len(mine) // len(there)
        assert [mine.count(worker) for worker in sorted(new)] == [share] * len(new)
        assert sum(old != own for old, own in zip(owners[topic], mine, strict=True)) == share * len(new)
    assert make_room(owners, dict.fromkeys(owners, WORKERS), WORKERS) == {
        name: list(each) for name, each in owners.items()
    }


def test_a_worker_gets_only_topics_that_it_has_subscribed_to() -> None:
    owned = carry_out({"x": ["a", "b"]}, {"x": 2}, {"x": ["b"]})
    assert owned == {"b": {"x": [0, 1]}}


class Cluster:
    """What the leader knows of topics."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(4 if topic in TOPICS else 0))


TOPICS = ["work.p.x", "work.p.y"]


def member(url: str, topics: list[str]) -> ConsumerProtocolMemberMetadata:
    """What a member says of itself as it joins."""
    said = ClientMetadata(
        assignment=ClientAssignment(actives={}, standbys={}),
        url=url,
        changelog_distribution={},
        external_topic_distribution={},
        topic_groups={},
    )
    return ConsumerProtocolMemberMetadata(4, topics, said.dumps())


def assigned(*members: tuple[str, list[str]], tended: bool = True) -> list[dict[str, list[int]]]:
    """Who gets which partitions by a plan, of members in this order; a plan that is carried out asks for nothing."""
    conf = SimpleNamespace(id="alto.lm.m", canonical_url="http://a:1", broker_session_timeout=10.0)
    app = SimpleNamespace(conf=conf, tables=SimpleNamespace(data={}, changelog_topics=set()), tracer=None)
    assignor = PlanAssignor(app)
    assignor.follow_plans(rejoin=lambda: None, is_tended=lambda: tended)
    owners = {"p.x": ["http://a:1"] * 2 + ["http://b:1"] * 2, "p.y": ["http://b:1"] * 4}
    assignor.plan = Plan("m", 1, 0, "first", owners, busy={"http://a:1": 1.0, "http://b:1": 1.0})
    found = assignor._perform_assignment(Cluster(), {f"member-{n}": member(*each) for n, each in enumerate(members)})
    assignor._ask(assignor.plan.version)
    assert assignor.rebalances == 0
    return [{topic: list(mine) for topic, mine in found[f"member-{n}"].assignment} for n in range(len(members))]


def test_members_get_what_is_planned_for_their_workers() -> None:
    a, b = assigned(("http://a:1", TOPICS), ("http://b:1", TOPICS))
    assert (a, b) == ({"work.p.x": [0, 1], "work.p.y": []}, {"work.p.x": [2, 3], "work.p.y": [0, 1, 2, 3]})


def test_a_worker_that_joins_waits_for_its_plan_but_not_for_a_scheduler_that_is_away() -> None:
    three = [("http://a:1", TOPICS), ("http://b:1", TOPICS), ("http://c:1", TOPICS)]
    assert assigned(*three)[2] == {"work.p.x": [], "work.p.y": []}
    assert assigned(*three, tended=False)[2] == {"work.p.x": [1], "work.p.y": [3]}


def test_members_with_one_address_own_nothing_twice() -> None:
    """Two hosts whose workers listen on 127.0.0.1 and one port call themselves the same."""
    found = assigned(("http://a:1", TOPICS), ("http://a:1", ["work.p.x"]))
    assert found == [{"work.p.x": [0, 2], "work.p.y": [0, 1, 2, 3]}, {"work.p.x": [1, 3]}]


def test_a_member_whose_topics_do_not_exist_ends_no_assignment() -> None:
    a, b = assigned(("http://a:1", TOPICS), ("http://b:1", ["work.p.z"]))
    assert (sorted(a["work.p.x"]), b) == ([0, 1, 2, 3], {})


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
