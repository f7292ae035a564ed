"""The home of a stage, record by record."""

from __future__ import annotations

import msgspec
import pytest

from alto_streams.wire.records import (
    Chunk,
    Close,
    End,
    Ended,
    EventKind,
    Status,
    Timer,
)
from tests.simulation.script import Question, Sentence, pipeline
from tests.unit.homes import (
    REQUEST_ID,
    SILENCE_MS,
    STOP,
    Home,
    arms,
    children,
    chunk,
    events,
    items,
    items_to,
    request,
    sent,
    start,
    works,
)


@pytest.fixture
def answer() -> Home:
    home = Home(pipeline, "answer")
    home.tell(request(Question("why?")))
    return home


class TestDispatch:
    def test_the_first_attempt(self) -> None:
        home = Home(pipeline, "answer")
        out = home.tell(request(Question("why?")))
        (work,) = works(out)
        assert (work.stage, work.path, work.attempt, work.prefix, work.flush) == ("answer", "", 1, "", "token")
        assert (work.home.topic, work.home.partition) == ("chunks.factcheck.answer", 0)
        assert work.call.messages[-1].content == "why?"
        assert arms(out) == []  # before the first start only the request's deadline counts

    def test_a_request_told_twice_dispatches_once(self, answer: Home) -> None:
        assert answer.tell(request(Question("why?"))) == []

    def test_one_call_per_item(self) -> None:
        home = Home(pipeline, "claims")
        assert [w.path for w in works(home.tell(items("answer", "", Sentence("a"), Sentence("b"))))] == ["0", "1"]
        assert works(home.tell(items("answer", "", Sentence("b"), first=1))) == []


class TestStream:
    def test_text_items_and_close(self, answer: Home) -> None:
        answer.tell(start(""))
        out = answer.tell(chunk("", 0, "one\ntw"))
        assert [msgspec.json.decode(e.body) for e in events(out)] == [{"text": "one\ntw"}]
        assert children(items_to(out, "claims")) == [{"text": "one"}]
        assert items_to(out, "report") == []  # it waits for closes only
        out = answer.tell(chunk("", 1, "o", end=STOP))
        (told,) = items_to(out, "claims")
        assert (told.first, children([told]), told.close) == (1, [{"text": "two"}], None)
        (told,) = items_to(out, "report")
        assert (told.children, told.close) == ([], Close(2))
        assert [(e.kind, e.number) for e in events(out)] == [(EventKind.CHUNK, 1), (EventKind.CLOSE, 2)]
        assert sent(out, "control.") == []  # nobody else works on it

    def test_an_end_that_others_may_not_know_of_is_told(self, answer: Home) -> None:
        answer.tell(start("", "a"), start("", "b"))
        out = answer.tell(chunk("", 0, "one", "b", end=STOP))
        assert sent(out, "control.") == [Ended(REQUEST_ID, "answer", "", 1)]

    def test_the_first_chunk_of_a_run_is_its_start(self, answer: Home) -> None:
        out = answer.tell(chunk("", 0, "one\n"))
        assert children(items_to(out, "claims")) == [{"text": "one"}]
        assert [w.prefix for w in works(answer.tell(chunk("", 0, "x", "b")))] == ["one\n"]

    def test_each_record_of_the_followed_run_arms_a_timer(self, answer: Home) -> None:
        (first,) = arms(answer.tell(start("")))
        (second,) = arms(answer.tell(chunk("", 0, "x")))
        assert (first.mark, second.mark) == (1, 2)
        assert second.at_ms == answer.now_ms + SILENCE_MS

    def test_a_malformed_line_is_a_failed_child(self, answer: Home) -> None:
        answer.tell(start(""))
        out = answer.tell(chunk("", 0, "!bad\ngood\n"))
        (told,) = items_to(out, "claims")
        assert [c.status for c in told.children] == [Status.FAILED, Status.OK]
        (letter,) = sent(out, "dead-letters.")
        assert (letter.cause, letter.stage, letter.offset) == ("a malformed line", "answer", 3)

    def test_a_failed_stream_keeps_its_whole_items_only(self, answer: Home) -> None:
        answer.tell(start(""))
        out = answer.tell(chunk("", 0, "one\nhalf", end=End(Status.FAILED, "rejected", "too long")))
        assert children(items_to(out, "claims")) == [{"text": "one"}]
        assert [i.close for i in items_to(out, "report")] == [Close(1, Status.FAILED, "too long")]

    @pytest.mark.parametrize(
        "late", [chunk("", 1, "x"), chunk("", 5, "x"), Timer(REQUEST_ID, "", 1, 0), Timer(REQUEST_ID, "", 1, 2)]
    )
    def test_after_the_close_nothing_counts(self, answer: Home, late: Chunk | Timer) -> None:
        answer.tell(start(""), chunk("", 0, "one\n", end=STOP))
        assert answer.tell(late) == []

    def test_after_the_close_a_start_is_answered_by_an_abort(self, answer: Home) -> None:
        answer.tell(start(""), chunk("", 0, "one\n", end=STOP))
        for begun in (start("", run="b"), chunk("", 0, "x", "b")):
            out = answer.tell(begun)
            assert sent(out, "control.") == [Ended(REQUEST_ID, "answer", "", 1)]
            assert len(out) == 1


class TestAttempts:
    def test_a_second_start_before_any_text_is_followed(self, answer: Home) -> None:
        answer.tell(start("", "a"))
        out = answer.tell(start("", "b"))
        assert works(out) == []
        assert answer.tell(chunk("", 1, "x", "a")) == []
        assert len(events(answer.tell(chunk("", 0, "y", "b")))) == 1

    def test_a_fourth_start_ends_the_attempt(self, answer: Home) -> None:
        answer.tell(start("", "a"), start("", "b"), start("", "c"))
        assert [w.attempt for w in works(answer.tell(start("", "d")))] == [2]

    def test_a_second_start_after_text_continues_from_it(self, answer: Home) -> None:
        answer.tell(start("", "a"), chunk("", 0, "one\ntw", "a"))
        out = answer.tell(start("", "b"))
        (work,) = works(out)
        assert (work.attempt, work.prefix, work.call.max_tokens) == (2, "one\ntw", 100_000 - 6)
        assert sent(out, "control.") == [Ended(REQUEST_ID, "answer", "", 1)]
        answer.tell(start("", "c", 2))
        out = answer.tell(chunk("", 0, "o\n", "c", 2, end=STOP))
        (told,) = items_to(out, "claims")
        assert (told.first, children([told])) == (1, [{"text": "two"}])
        assert events(out)[0].number == 1  # the client's numbering goes on across attempts

    def test_a_hole_ends_the_attempt(self, answer: Home) -> None:
        answer.tell(start(""), chunk("", 0, "x"))
        assert [(w.attempt, w.prefix) for w in works(answer.tell(chunk("", 2, "z")))] == [(2, "x")]
        assert answer.tell(chunk("", 1, "y")) == []

    def test_a_silence_ends_the_attempt_unless_something_was_heard(self, answer: Home) -> None:
        (armed,) = arms(answer.tell(start("")))
        answer.tell(chunk("", 0, "x"))
        assert answer.tell(Timer(REQUEST_ID, "", 1, armed.mark)) == []
        assert [w.attempt for w in works(answer.tell(Timer(REQUEST_ID, "", 1, armed.mark + 1)))] == [2]

    def test_an_engine_error_ends_the_attempt(self, answer: Home) -> None:
        answer.tell(start(""))
        out = answer.tell(chunk("", 0, "one\n", end=End(Status.FAILED, "error", "gone")))
        assert [w.prefix for w in works(out)] == ["one\n"]
        assert len(items_to(out, "claims")) == 1

    def test_too_many_attempts_close_the_path_failed(self) -> None:
        home = Home(pipeline, "answer", max_attempts=2)
        home.tell(request(Question("why?")), start(""), chunk("", 0, "one\n"), chunk("", 9, "?"))
        home.tell(start("", "b", 2))
        out = home.tell(chunk("", 9, "?", "b", 2))
        (told,) = items_to(out, "report")
        assert told.close == Close(1, Status.FAILED, "gave up after 2 attempts: a hole in its output")
        assert [d.cause for d in sent(out, "dead-letters.")] == [told.close.cause]
        assert works(out) == []
