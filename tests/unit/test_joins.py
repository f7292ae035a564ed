"""When a call may start, and what it then gets."""

from __future__ import annotations

import msgspec
import pytest

from alto_streams.define.pipeline import Gather
from alto_streams.tables.joins import Joins
from alto_streams.tables.rows import CallState, Row
from alto_streams.tables.withdrawals import Withdrawals
from alto_streams.wire.records import Child, Close, Context, Items, Mode, Status
from tests.simulation.script import Claim, Passage, Question, pipeline
from tests.unit.homes import items, request

CLAIM = items("claims", "0", Claim("a"), Claim("b"), close=Close(2))
FOUND = [
    items("queries", "0/1", close=Close(2)),
    items("evidence", "0/1/1", Passage("later"), close=Close(1)),
    items("evidence", "0/1/0", Passage("p"), Passage("q"), close=Close(2)),
]


def verdict() -> Joins:
    return Joins(pipeline, pipeline.stages["verdict"], Withdrawals(pipeline))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]])
def test_a_join_is_ready_once_all_of_its_own_is_there(order: list[int]) -> None:
    joins, row = verdict(), Row()
    told = [CLAIM, *FOUND]
    for n, each in enumerate(order):
        assert not joins.is_ready(row, "0/1"), f"after {n} records"
        joins.absorb_items(row, told[each])
        joins.absorb_items(row, told[each])
    assert joins.is_ready(row, "0/1")
    assert not joins.is_ready(row, "0/0")
    assert sorted(joins.pending(row)) == ["0/0", "0/1"]


def test_its_arguments_are_its_own_in_order() -> None:
    joins, row = verdict(), Row()
    for each in (CLAIM, *FOUND, items("evidence", "0/0/0", Passage("not this one"))):
        joins.absorb_items(row, each)
    arguments = joins.arguments(row, "0/1")
    assert arguments["claim"] == Claim("b")
    assert list(arguments["found"].items()) == [
        ("0/1/0/0", Passage("p")),
        ("0/1/0/1", Passage("q")),
        ("0/1/1/0", Passage("later")),
    ]


def test_items_stand_by_index_not_by_letter() -> None:
    joins, row = verdict(), Row()
    joins.absorb_items(row, CLAIM)
    joins.absorb_items(row, items("evidence", "0/1/0", *[Passage(str(n)) for n in range(12)]))
    assert [p.text for p in joins.arguments(row, "0/1")["found"]] == [str(n) for n in range(12)]


def test_a_claim_without_queries_is_ready_at_once() -> None:
    joins, row = verdict(), Row()
    joins.absorb_items(row, CLAIM)
    joins.absorb_items(row, items("queries", "0/0", close=Close(0)))
    assert joins.is_ready(row, "0/0")
    assert len(joins.arguments(row, "0/0")["found"]) == 0


def test_failed_evidence_is_told_and_does_not_hold_up() -> None:
    joins, row = verdict(), Row()
    joins.absorb_items(row, CLAIM)
    joins.absorb_items(row, items("queries", "0/0", close=Close(1)))
    joins.absorb_items(row, items("evidence", "0/0/0", close=Close(0, Status.FAILED, "timed out")))
    assert joins.is_ready(row, "0/0")
    assert joins.arguments(row, "0/0")["found"].failures == {"0/0/0": "timed out"}


def test_a_failed_driver_is_pending_with_its_cause() -> None:
    joins, row = verdict(), Row()
    joins.absorb_items(row, items("claims", "0", Child(status=Status.FAILED, cause="bad line")))
    assert joins.pending(row) == ["0/0"]
    assert joins.driver_failure(row, "0/0") == "bad line"


def test_release_drops_its_own_and_nothing_else() -> None:
    joins, row = verdict(), Row()
    for each in (CLAIM, *FOUND, items("evidence", "0/0/0", Passage("of the other"))):
        joins.absorb_items(row, each)
    row.calls["0/1"] = CallState(attempt=1, closed=True)
    joins.release(row, "0/1")
    assert {source: set(values) for source, values in row.values.items()} == {
        "claims": {"0/0"},
        "evidence": {"0/0/0/0"},
    }
    assert set(row.scopes["found"]) == {"0/0"}
    for each in (CLAIM, *FOUND):  # said again, too late
        joins.absorb_items(row, each)
    assert set(row.scopes["found"]) == {"0/0"}
    assert joins.pending(row) == ["0/0"]


def test_a_value_of_another_type_is_said_when_it_is_used() -> None:
    joins, row = verdict(), Row()
    joins.absorb_items(row, items("claims", "0", 5))
    with pytest.raises(msgspec.ValidationError):
        joins.arguments(row, "0/0")


def test_the_barrier_waits_for_the_whole_request() -> None:
    joins, row, barrier = verdict(), Row(), Context(Mode.BARRIER)

    def told(record: Items) -> bool:
        joins.absorb_items(row, msgspec.structs.replace(record, context=barrier))
        return joins.is_ready(row, "0/1")

    for each in (CLAIM, *FOUND):
        assert not told(each)
    assert not told(items("answer", "", close=Close(1)))
    assert told(items("queries", "0/0", close=Close(0)))  # the other claim has no evidence to wait for


def test_a_gather_under_an_item() -> None:
    gathered = Gather({"0/0": 1, "0/1": 2, "0/10": 3, "1/0": 4}, {"2": "failed"})
    assert gathered.under("0") == [1, 2, 3]
    assert gathered.under("0/1") == [2]
    assert (len(gathered), list(gathered)) == (4, [1, 2, 3, 4])


def test_the_request_is_an_input() -> None:
    joins, row = Joins(pipeline, pipeline.stages["answer"], Withdrawals(pipeline)), Row()
    assert joins.pending(row) == []
    joins.absorb_request(row, request(Question("why?"), Mode.BARRIER))
    assert joins.pending(row) == [""]
    assert joins.is_ready(row, "")
    assert joins.arguments(row, "") == {"question": Question("why?")}
    assert row.context.mode is Mode.BARRIER
