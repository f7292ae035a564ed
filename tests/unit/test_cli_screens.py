"""What a request looks like while it runs, from recorded events."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from alto_streams.cli.screens import JsonScreen, LiveScreen, PlainScreen, Screen, screen_for
from alto_streams.client import ClientEvent
from alto_streams.pipelines.factcheck.view import FactcheckView, claims_of, marks_of
from alto_streams.views import View
from alto_streams.views.timeline import Bar, gantt
from alto_streams.views.transcript import Transcript
from alto_streams.wire.records import EventKind as Kind

CLAIM, OTHER = "Paris is the capital of France.", "It has ten rivers."
EVIDENCE = [{"source": "countries/france.txt", "text": "The capital of\nFrance is \x1b[31mParis."}]
VERDICT = {"claim": CLAIM, "verdict": True, "confidence": 0.91, "evidence": EVIDENCE}
FAILED = {"value": None, "status": "failed", "cause": "no verdict in the output"}
REPORT = {
    "claims": [
        {**VERDICT, "status": "ok", "cause": None},
        {"claim": OTHER, "verdict": None, "confidence": None, "status": "failed", "cause": "x", "evidence": []},
    ]
}
RECORDED: list[tuple[float, Kind, str, str, Any]] = [
    (0.1, Kind.ACCEPTED, "report", "", {"mode": "stream"}),
    (0.2, Kind.CHUNK, "answer", "", {"text": "Paris is the cap"}),
    (0.4, Kind.CHUNK, "answer", "", {"text": "ital of France. It has"}),
    (0.5, Kind.ITEM, "claims", "0/0", {"value": {"claim": CLAIM}}),
    (0.8, Kind.ITEM, "verdict", "0/0/0", {"value": VERDICT}),
    (0.9, Kind.CHUNK, "answer", "", {"text": " ten rivers."}),
    (1.0, Kind.CLOSE, "answer", "", {"count": 2}),
    (1.2, Kind.ITEM, "claims", "1/0", {"value": {"claim": OTHER}}),
    (1.6, Kind.ITEM, "verdict", "1/0/0", FAILED),
    (2.0, Kind.DONE, "report", "", {"status": "ok", "result": REPORT}),
]


def played(screen: Screen, recorded: list[tuple[float, Kind, str, str, Any]] = RECORDED) -> Transcript:
    transcript = Transcript()
    with screen:
        for number, (at_s, kind, stage, path, body) in enumerate(recorded):
            event = ClientEvent(number, kind, stage, path, number, 0, body)
            transcript.hear(event, at_s)
            screen.show(event, transcript, at_s)
        screen.end(transcript)
    return transcript


def test_plain_lines_are_whole_in_order_and_free_of_control_codes() -> None:
    out = io.StringIO()
    played(PlainScreen(FactcheckView(), out))
    text = out.getvalue()
    assert all(char == "\n" or char.isprintable() for char in text)
    live = text.split("\n\n")[0].splitlines()
    assert [line.split(" s  ")[1].split()[0] for line in live] == [
        "answer",
        "claim",
        "verdict",
        "answer",
        "claim",
        "verdict",
    ]
    assert live[0].endswith("answer   Paris is the capital of France.")
    assert live[2].endswith(f"TRUE 0.91 {CLAIM}")
    assert live[3].endswith("It has ten rivers.")
    assert "NO VERDICT" in live[5]
    assert "no verdict in the output" in live[5]


def test_the_summary_has_evidence_and_times() -> None:
    out = io.StringIO()
    transcript = played(PlainScreen(FactcheckView(), out))
    summary = out.getvalue().split("\n\n", 1)[1]
    assert "countries/france.txt: The capital of France is [31mParis." in summary
    assert dict(marks_of(transcript)) == {
        "first token": 0.2,
        "first claim": 0.5,
        "first verdict": 0.8,
        "answer end": 1.0,
        "last verdict": 1.6,
        "done": 2.0,
    }
    assert "first verdict     0.80 s" in summary


def test_json_is_one_event_a_line_that_reads_back() -> None:
    out = io.StringIO()
    played(JsonScreen(out))
    events = [msgspec.json.decode(line, type=ClientEvent) for line in out.getvalue().splitlines()]
    assert [event.kind for event in events] == [each[1] for each in RECORDED]
    assert events[-1].body["result"] == REPORT


@pytest.mark.parametrize("height", [5, 12, 60])
def test_the_live_screen_never_draws_more_than_the_terminal_holds(height: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=height)
    screen = LiveScreen(FactcheckView(), console)
    long = [(0.3, Kind.CHUNK, "answer", "", {"text": "Many words follow here. " * 200})]
    transcript = played(screen, [*RECORDED[:2], *long, *RECORDED[2:]])
    drawn = console.render_lines(screen._drawn(transcript, height))
    assert len(drawn) <= max(height, 8)
    assert any("TRUE 0.91" in "".join(part.text for part in line) for line in drawn)


def test_standard_output_that_is_no_terminal_gets_plain_lines() -> None:
    assert isinstance(screen_for(FactcheckView(), out=io.StringIO()), PlainScreen)


def test_another_pipeline_is_shown_by_its_items_and_result() -> None:
    out = io.StringIO()
    recorded = [
        (0.1, Kind.ITEM, "points", "0", {"value": {"text": "a point"}}),
        (0.2, Kind.DONE, "summary", "", {"status": "failed", "result": None, "cause": "deadline exceeded"}),
    ]
    played(PlainScreen(View(), out), recorded)
    assert "points   0 " in out.getvalue()
    assert "The request ended failed: deadline exceeded" in out.getvalue()


def test_streams_that_run_beside_each_other_are_not_mixed() -> None:
    out = io.StringIO()
    recorded: list[tuple[float, Kind, str, str, Any]] = [
        (0.1, Kind.CHUNK, "answers", "1", {"text": "Lava "}),
        (0.2, Kind.CHUNK, "answers", "0", {"text": "Ash falls. It "}),
        (0.3, Kind.CHUNK, "answers", "1", {"text": "flows."}),
        (0.4, Kind.CLOSE, "answers", "1", {"count": 1}),
        (0.5, Kind.CHUNK, "answers", "0", {"text": "stays."}),
        (0.6, Kind.DONE, "page", "", {"status": "ok", "result": {}}),
    ]
    transcript = played(PlainScreen(View(), out), recorded)
    assert [line.split(maxsplit=3)[3] for line in out.getvalue().splitlines()[:3]] == [
        "Ash falls.",
        "Lava flows.",
        "It stays.",
    ]
    assert transcript.text == "Ash falls. It stays.\n\nLava flows."


REDONE: list[tuple[float, Kind, str, str, Any]] = [
    *RECORDED[:5],
    (0.9, Kind.RETRACTED, "answer", "", {"first": 0, "epoch": 1, "stages": ["answer", "claims", "verdict"]}),
    (1.0, Kind.CHUNK, "answer", "", {"text": "Paris is large. "}),
    (1.1, Kind.ITEM, "verdict", "0/0/0", {"value": VERDICT}),
    (1.2, Kind.ITEM, "claims", "0~1/0", {"value": {"claim": "Paris is large."}}),
    (1.3, Kind.ITEM, "claims", "0~1/1", {"value": {"claim": OTHER}}),
    (1.4, Kind.CLOSE, "claims", "0~1/1", {"count": 0, "status": "cancelled", "cause": "by the client"}),
    (1.5, Kind.CLOSE, "answer", "", {"count": 1}),
    (1.6, Kind.ITEM, "verdict", "0~1/0/0", {"value": {**VERDICT, "verdict": False, "confidence": 0.8}}),
]
ENDED_EARLY = (2.0, Kind.DONE, "report", "", {"status": "ok", "result": {"claims": []}, "early": True})


def test_what_is_withdrawn_is_said_to_be_where_it_cannot_be_taken_back() -> None:
    out = io.StringIO()
    transcript = played(PlainScreen(FactcheckView(), out), REDONE)
    said = [line.split(" s  ")[1].split(maxsplit=1) for line in out.getvalue().split("\n\n")[0].splitlines()]
    assert said == [
        ["answer", "Paris is the capital of France."],
        ["claim", CLAIM],
        ["verdict", f"TRUE 0.91 {CLAIM}"],
        ["answer", "[the answer begins again]"],
        ["withdrawn", CLAIM],
        ["answer", "Paris is large."],
        ["claim", "Paris is large."],
        ["claim", OTHER],
        ["verdict", f"NO VERDICT {OTHER} (cancelled: by the client)"],
        ["verdict", "FALSE 0.80 Paris is large."],
    ]
    assert transcript.text == "Paris is large. "
    assert [claim.claim for claim in claims_of(transcript)] == ["Paris is large.", OTHER]


def test_the_live_screen_takes_back_what_is_withdrawn() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=30)
    screen = LiveScreen(FactcheckView(), console)
    transcript = played(screen, REDONE)
    drawn = "\n".join(
        "".join(part.text for part in line) for line in console.render_lines(screen._drawn(transcript, 30))
    )
    assert "capital" not in drawn
    assert "FALSE 0.80" in drawn


def test_a_verdict_alone_is_withdrawn_and_given_anew() -> None:
    out = io.StringIO()
    again = [
        (0.9, Kind.RETRACTED, "verdict", "0/0", {"first": 0, "epoch": 1, "stages": ["verdict", "report"]}),
        (1.0, Kind.ITEM, "verdict", "0/0/0~1", {"value": {**VERDICT, "verdict": False}}),
    ]
    played(PlainScreen(FactcheckView(), out), [*RECORDED[:5], *again])
    said = [line.split(" s  ")[1].split(maxsplit=1) for line in out.getvalue().split("\n\n")[0].splitlines()]
    assert said[2:] == [
        ["verdict", f"TRUE 0.91 {CLAIM}"],
        ["withdrawn", f"TRUE 0.91 {CLAIM}"],
        ["verdict", f"FALSE 0.91 {CLAIM}"],
    ]


def test_an_early_end_is_shown_with_what_was_left() -> None:
    out = io.StringIO()
    played(PlainScreen(FactcheckView(), out), [*RECORDED[:8], ENDED_EARLY])
    assert "The request ended early" in out.getvalue()
    assert f"NO VERDICT  {OTHER} (cancelled: the request ended early)" in out.getvalue()


def test_another_pipeline_says_what_is_withdrawn() -> None:
    out = io.StringIO()
    recorded: list[tuple[float, Kind, str, str, Any]] = [
        (0.1, Kind.ITEM, "points", "3/0", {"value": {"text": "a point"}}),
        (0.2, Kind.RETRACTED, "points", "3", {"first": 0, "epoch": 1, "stages": ["points"]}),
        (0.3, Kind.ITEM, "points", "3/0", {"value": {"text": "late"}}),
        (0.4, Kind.ITEM, "points", "3/0~1", {"value": {"text": "another"}}),
    ]
    played(PlainScreen(View(), out), recorded)
    said = [line.split(" s  ")[1] for line in out.getvalue().split("\n\n")[0].splitlines()]
    assert [line.split()[:2] for line in said] == [["points", "3/0"], ["withdrawn", "points"], ["points", "3/0~1"]]


def test_the_chart_keeps_its_width_and_its_scale() -> None:
    lines = gantt([Bar("answer", 0.0, 5.0), Bar("claim 1", 5.0, 10.0)], 80)
    assert len({len(line.split("|")[1]) for line in lines}) == 1
    assert all(len(line) <= 80 for line in lines)
    first, second = (line.split("|")[1] for line in lines)
    assert abs(first.count("#") - second.count("#")) <= 1
    assert first.rstrip().endswith("#")
    assert second.index("#") >= len(first.rstrip()) - 1
    assert gantt([], 80) == []


@pytest.mark.parametrize("evidence", [EVIDENCE, []])
def test_an_abstention_is_shown_as_such_with_its_evidence(evidence: list[dict[str, str]]) -> None:
    abstained = {"claim": CLAIM, "verdict": None, "confidence": None, "evidence": evidence}
    out = io.StringIO()
    played(
        PlainScreen(FactcheckView(), out), [*RECORDED[:4], (0.8, Kind.ITEM, "verdict", "0/0/0", {"value": abstained})]
    )
    assert f"verdict  UNSURE {CLAIM}" in out.getvalue()
    assert f"1. UNSURE  {CLAIM}" in out.getvalue()
    assert ("countries/france.txt" in out.getvalue()) == bool(evidence)
    assert "NO VERDICT" not in out.getvalue()
