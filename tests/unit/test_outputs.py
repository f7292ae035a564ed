"""What a home tells others: to whom, with which identity, and what a client sees of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from alto_streams.tables.outputs import Outputs
from alto_streams.tables.rows import CallState, Instruction, Row, Send
from alto_streams.tables.turns import At, Turn
from alto_streams.wire.records import Child, Close, Context, EventKind, Items, Mode, Raw, Status
from tests.simulation.script import pipeline
from tests.unit.homes import REQUEST_ID, events, sent

AT = At("chunks.factcheck.x", 1, 77, 5_000)
OK = Child(Raw(b'{"text":"x"}'))
BAD = Child(status=Status.FAILED, cause="bad line")


def outputs(stage: str) -> Outputs:
    return Outputs(pipeline.name, pipeline.stages[stage])


def turn(mode: Mode = Mode.STREAM) -> Turn:
    return Turn(Row(context=Context(mode)), REQUEST_ID, AT)


def targets(sends: Sequence[Instruction]) -> dict[str, tuple[int, bool]]:
    """Consumer -> (children, whether it is told the close)."""
    told = {s.topic.rpartition(".")[2]: msgspec.json.decode(s.record, type=Items) for s in sends if isinstance(s, Send)}
    return {stage: (len(record.children), record.close is not None) for stage, record in told.items()}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.STREAM, {"queries": (2, False), "verdict": (2, False), "report": (2, True)}),
        (
            Mode.BARRIER,
            {"queries": (2, True), "evidence": (0, True), "verdict": (2, True), "report": (2, True)},
        ),
    ],
)
def test_each_consumer_hears_what_it_waits_for(mode: Mode, expected: dict[str, tuple[int, bool]]) -> None:
    told = turn(mode)
    outputs("claims").items(told, "0", CallState(), [OK, BAD], Close(2))
    assert targets(told.asked) == expected
    assert {s.key for s in told.asked if isinstance(s, Send)} == {REQUEST_ID}


def test_nobody_hears_of_nothing() -> None:
    told = turn()
    outputs("answer").items(told, "", CallState(), [], None)
    assert told.asked == []


def test_children_are_numbered_on() -> None:
    told = turn()
    outputs("queries").items(told, "0/0", CallState(children=3), [OK], None)
    assert {record.first for record in sent(told.asked, "chunks.")} == {3}


class TestClientEvents:
    def test_a_watched_text(self) -> None:
        call = CallState()
        told = turn()
        for text in ("one", "", "two"):
            outputs("answer").shown_text(told, "", call, text)
        assert [(e.kind, e.number, e.at_ms) for e in events(told.asked)] == [
            (EventKind.CHUNK, 0, 5_000),
            (EventKind.CHUNK, 1, 5_000),
        ]
        ended = turn()
        outputs("answer").shown_items(ended, "", call, [OK], Close(1))
        (closed,) = events(ended.asked)
        assert (closed.kind, closed.number, msgspec.json.decode(closed.body)) == (EventKind.CLOSE, 2, {"count": 1})

    def test_shown_items(self) -> None:
        call = CallState(children=1)
        told = turn()
        outputs("verdict").shown_items(told, "0/0", call, [OK, BAD], Close(3))
        shown = events(told.asked)
        assert [(e.kind, e.path) for e in shown] == [(EventKind.ITEM, "0/0/1"), (EventKind.ITEM, "0/0/2")]
        assert [msgspec.json.decode(e.body) for e in shown] == [
            {"value": {"text": "x"}},
            {"value": None, "status": "failed", "cause": "bad line"},
        ]
        outputs("verdict").shown_text(told, "0/0", call, "text")
        assert events(told.asked) == shown

    def test_a_failed_stream_is_shown(self) -> None:
        close = Close(0, Status.FAILED, "gave up")
        told = turn()
        outputs("verdict").shown_items(told, "0/0", CallState(), [], close)
        (shown,) = events(told.asked)
        assert (shown.kind, shown.path) == (EventKind.CLOSE, "0/0")
        assert msgspec.json.decode(shown.body) == {"count": 0, "status": "failed", "cause": "gave up"}

    def test_what_is_not_shown(self) -> None:
        close = Close(1, Status.FAILED, "x")
        told = turn()
        outputs("queries").shown_items(told, "0/0", CallState(), [OK, BAD], close)
        assert told.asked == []


def test_dead_letters_name_cause_and_origin() -> None:
    told = turn()
    outputs("claims").dead_letters(told, "0", [OK, BAD], Close(2, Status.FAILED, "gave up"))
    letters = sent(told.asked, "dead-letters.")
    assert [(d.cause, d.stage, d.request, d.path) for d in letters] == [
        ("bad line", "claims", REQUEST_ID, "0"),
        ("gave up", "claims", REQUEST_ID, "0"),
    ]
    assert {(d.topic, d.partition, d.offset) for d in letters} == {(AT.topic, 1, 77)}
    well = turn()
    outputs("claims").dead_letters(well, "0", [OK], Close(1))
    assert well.asked == []
