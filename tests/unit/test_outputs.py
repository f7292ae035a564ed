"""What a home tells others: to whom, with which identity, and what a client sees of it."""

from __future__ import annotations

import msgspec
import pytest

from alto_streams.tables.outputs import At, Outputs
from alto_streams.tables.rows import CallState, Send
from alto_streams.wire.records import Child, Close, Context, EventKind, Items, Mode, Raw, Status
from tests.simulation.script import pipeline
from tests.unit.homes import REQUEST_ID, events, sent

AT = At("chunks.factcheck.x", 1, 77, 5_000)
OK = Child(Raw(b'{"text":"x"}'))
BAD = Child(status=Status.FAILED, cause="bad line")


def outputs(stage: str) -> Outputs:
    return Outputs(pipeline.name, pipeline.stages[stage])


def targets(sends: list[Send]) -> dict[str, tuple[int, bool]]:
    """Consumer -> (children, whether it is told the close)."""
    told = {s.topic.rpartition(".")[2]: msgspec.json.decode(s.record, type=Items) for s in sends}
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
    sends = outputs("claims").items(REQUEST_ID, Context(mode), "0", CallState(), [OK, BAD], Close(2))
    assert targets(sends) == expected
    assert {s.key for s in sends} == {REQUEST_ID}


def test_nobody_hears_of_nothing() -> None:
    assert outputs("answer").items(REQUEST_ID, Context(), "", CallState(), [], None) == []


def test_children_are_numbered_on() -> None:
    sends = outputs("queries").items(REQUEST_ID, Context(), "0/0", CallState(children=3), [OK], None)
    assert {record.first for record in sent(sends, "chunks.")} == {3}


class TestClientEvents:
    def test_a_watched_text(self) -> None:
        call = CallState()
        out = outputs("answer").shown_text(REQUEST_ID, "", call, "one", AT)
        out += outputs("answer").shown_text(REQUEST_ID, "", call, "", AT)
        out += outputs("answer").shown_text(REQUEST_ID, "", call, "two", AT)
        assert [(e.kind, e.number, e.at_ms) for e in events(out)] == [
            (EventKind.CHUNK, 0, 5_000),
            (EventKind.CHUNK, 1, 5_000),
        ]
        (closed,) = events(outputs("answer").shown_items(REQUEST_ID, "", call, [OK], Close(1), AT))
        assert (closed.kind, closed.number, msgspec.json.decode(closed.body)) == (EventKind.CLOSE, 2, {"count": 1})

    def test_shown_items(self) -> None:
        call = CallState(children=1)
        shown = events(outputs("verdict").shown_items(REQUEST_ID, "0/0", call, [OK, BAD], Close(3), AT))
        assert [(e.kind, e.path) for e in shown] == [(EventKind.ITEM, "0/0/1"), (EventKind.ITEM, "0/0/2")]
        assert [msgspec.json.decode(e.body) for e in shown] == [
            {"value": {"text": "x"}},
            {"value": None, "status": "failed", "cause": "bad line"},
        ]
        assert outputs("verdict").shown_text(REQUEST_ID, "0/0", call, "text", AT) == []

    def test_a_failed_stream_is_shown(self) -> None:
        close = Close(0, Status.FAILED, "gave up")
        (shown,) = events(outputs("verdict").shown_items(REQUEST_ID, "0/0", CallState(), [], close, AT))
        assert (shown.kind, shown.path) == (EventKind.CLOSE, "0/0")
        assert msgspec.json.decode(shown.body) == {"count": 0, "status": "failed", "cause": "gave up"}

    def test_what_is_not_shown(self) -> None:
        close = Close(1, Status.FAILED, "x")
        assert outputs("queries").shown_items(REQUEST_ID, "0/0", CallState(), [OK, BAD], close, AT) == []


def test_dead_letters_name_cause_and_origin() -> None:
    out = outputs("claims").dead_letters(REQUEST_ID, "0", [OK, BAD], Close(2, Status.FAILED, "gave up"), AT)
    letters = sent(out, "dead-letters.")
    assert [(d.cause, d.stage, d.request, d.path) for d in letters] == [
        ("bad line", "claims", REQUEST_ID, "0"),
        ("gave up", "claims", REQUEST_ID, "0"),
    ]
    assert {(d.topic, d.partition, d.offset) for d in letters} == {(AT.topic, 1, 77)}
    assert outputs("claims").dead_letters(REQUEST_ID, "0", [OK], Close(1), AT) == []
