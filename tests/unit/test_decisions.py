"""What was decided can be watched: each ruling has its cause, each further attempt its count and its line."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from alto_streams.agents.home.decision_log import DecisionLog
from alto_streams.tables.decisions import Cause, Did
from alto_streams.tables.rows import Row
from alto_streams.tables.turns import Turn
from alto_streams.wire.records import Cancel, Child, Chunk, Close, End, Result, Status, Timer
from tests.simulation.script import Query, Question, Sentence, pipeline
from tests.unit.homes import REQUEST_ID, Home, chunk, items, request, start

RETRIED = [
    (Cause.WORKER_LOST, [chunk("", 0, "Some text. "), start("", "b")]),
    (Cause.HOLE, [chunk("", 0, "Some text. "), chunk("", 2, "more")]),
    (Cause.HOLE, [chunk("", 1, "without its beginning")]),
    (Cause.ENGINE_ERROR, [chunk("", 0, "Some text. ", end=End(Status.FAILED, "error", "the engine broke"))]),
    (Cause.SILENCE, [chunk("", 0, "Some text. "), Timer(REQUEST_ID, "", 1, 2)]),
]


def turns(home: Home, *records: object) -> list[Turn]:
    return [home.machine.apply(home.row, record, home.at()) for record in records]  # type: ignore[arg-type]


def asked(stage: str = "answer", **options: int) -> Home:
    home = Home(pipeline, stage, **options)
    home.tell(request(Question("why?")))
    return home


def decided(found: Sequence[Turn], did: Did) -> list[tuple[str, int, Cause | None]]:
    return [(each.path, each.attempt, each.cause) for turn in found for each in turn.decided if each.did is did]


@pytest.mark.parametrize(("cause", "records"), RETRIED)
def test_each_further_attempt_says_why(cause: Cause, records: list[Chunk]) -> None:
    found = turns(asked(), *records)
    assert decided(found, Did.RETRIED) == [("", 2, cause)]
    assert not decided(found, Did.CLOSED)


@pytest.mark.parametrize(("cause", "records"), RETRIED)
def test_the_last_attempt_gives_its_cause_to_the_close_and_the_letter(cause: Cause, records: list[Chunk]) -> None:
    found = turns(asked(max_attempts=1), *records)
    assert not decided(found, Did.RETRIED)
    assert decided(found, Did.CLOSED) == decided(found, Did.LETTER) == [("", 1, cause)]


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (End(Status.FAILED, "rejected", "HTTP 400: too long"), Cause.REFUSED),
        (End(Status.FAILED, "a reason of tomorrow", "?"), Cause.OTHER),
        (End(Status.OK, "stop"), None),
    ],
)
def test_how_a_run_ended_is_why_its_call_has_closed(end: End, cause: Cause | None) -> None:
    found = turns(asked(), chunk("", 0, "text\n", end=end))
    assert decided(found, Did.CLOSED) == [("", 1, cause)]
    assert [each[2] for each in decided(found, Did.LETTER)] == ([cause] if cause else [])


@pytest.mark.parametrize("reason", ["raised", "timeout", "too_large"])
def test_what_a_map_function_failed_of_is_known(reason: str) -> None:
    home = Home(pipeline, "evidence")
    home.tell(items("queries", "0/0", Query("capital of Spain"), close=Close(1)))
    path = next(iter(home.row.calls))
    failed = Result(REQUEST_ID, path, 1, "a", status=Status.FAILED, cause="in words", reason=reason)
    assert decided(turns(home, failed), Did.CLOSED) == [(path, 1, Cause(reason))]


def test_output_that_is_no_item_is_a_letter_of_its_own() -> None:
    home = Home(pipeline, "claims")
    home.tell(items("answer", "", Sentence("A sentence.")))
    found = turns(home, chunk("0", 0, "!bad\n", end=End(Status.OK, "stop")))
    assert decided(found, Did.LETTER) == [("0", 1, Cause.PARSE)]
    assert decided(found, Did.CLOSED) == [("0", 1, None)]


def test_a_call_without_its_input_is_closed_for_that() -> None:
    home = Home(pipeline, "queries")
    failed = turns(home, items("claims", "0", Child(status=Status.FAILED, cause="bad line")))
    assert decided(failed, Did.CLOSED) == [("0/0", 0, Cause.INPUT)]
    assert not decided(failed, Did.LETTER), "its input has a letter of its own"


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (Cancel(REQUEST_ID, ""), Cause.CANCELLED),
        (Cancel(REQUEST_ID, "", Status.SHED, "too many"), Cause.SHED),
        (Cancel(REQUEST_ID, "", Status.FAILED, "deadline exceeded"), Cause.DEADLINE),
        (Timer(REQUEST_ID, "", 0, 0), Cause.DEADLINE),
    ],
)
def test_the_end_of_a_request_says_why(record: Cancel | Timer, cause: Cause) -> None:
    home = Home(pipeline, "report")
    home.tell(request(Question("why?"), deadline_ms=1_500))
    home.now_ms = 2_000
    assert decided(turns(home, record), Did.ENDED) == [("", 0, cause)]


def test_what_is_ignored_says_why() -> None:
    home = asked()
    home.tell(chunk("", 0, "text "))
    ignored = turns(home, chunk("", 0, "text "), chunk("", 5, "x", attempt=3), chunk("", 4, "x", run="z"))
    whys = [each.why for turn in ignored for each in turn.decided if each.did is Did.IGNORED]
    assert whys == ["it is known", "another attempt is open", "another run is followed"]
    assert [turn.asked for turn in ignored] == [[], [], []]


class TestWhereItIsSeen:
    def sample(self, registry: CollectorRegistry, name: str, cause: Cause) -> float | None:
        return registry.get_sample_value(name, {"stage": "factcheck.answer", "cause": cause.value})

    def test_attempts_and_letters_are_counted_by_cause(self) -> None:
        registry = CollectorRegistry()
        log = DecisionLog("factcheck.answer", registry)
        for _, records in RETRIED:
            for home in (asked(), asked(max_attempts=1)):
                for turn in turns(home, *records):
                    log.take(turn)
        for cause, count in ((Cause.HOLE, 2), (Cause.SILENCE, 1), (Cause.WORKER_LOST, 1)):
            assert self.sample(registry, "alto_attempts_total", cause) == count
            assert self.sample(registry, "alto_dead_letters_total", cause) == count
        assert self.sample(registry, "alto_attempts_total", Cause.PARSE) is None

    def test_a_retry_is_one_line_that_names_its_record_and_no_text(self, caplog: pytest.LogCaptureFixture) -> None:
        log = DecisionLog("factcheck.answer")
        end = End(Status.FAILED, "error", "words of a server")
        with caplog.at_level(logging.INFO):
            for turn in turns(asked(), chunk("", 0, "words of a model", end=end)):
                log.take(turn)
        (line,) = [record.getMessage() for record in caplog.records]
        assert line == (
            "factcheck.answer: request request-1, path '': attempt 2 begins, cause engine_error, "
            "by chunks.factcheck.answer-0@2"
        )

    def test_labels_are_a_closed_set(self) -> None:
        log, registry = Turn(Row(), REQUEST_ID, asked().at()), CollectorRegistry()
        log.decide(Did.LETTER, "0", 1, None, "whatever a server said")
        DecisionLog("factcheck.answer", registry).take(log)
        causes = {
            sample.labels["cause"]
            for metric in registry.collect()
            for sample in metric.samples
            if "cause" in sample.labels
        }
        assert causes <= set(Cause)
