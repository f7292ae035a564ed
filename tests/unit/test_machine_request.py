"""The home of a stage: failed leaves, map functions, the barrier, and the request as a whole."""

from __future__ import annotations

import msgspec
import pytest

from alto_streams.define.pipeline import Gather, Pipeline, Record
from alto_streams.errors import Poison
from alto_streams.tables.rows import encode_row
from alto_streams.wire.records import (
    Cancel,
    Cancelled,
    Child,
    Close,
    Context,
    Ended,
    EventKind,
    Forget,
    Items,
    Mode,
    Raw,
    Result,
    Retract,
    Status,
    Timer,
)
from tests.simulation.script import Claim, Passage, Query, Question, Verdict, pipeline
from tests.unit.homes import (
    REQUEST_ID,
    STOP,
    Home,
    arms,
    children,
    chunk,
    events,
    items,
    items_to,
    request,
    runs,
    sent,
    start,
    works,
)

OTHERS = ["answer", "claims", "evidence", "queries", "verdict"]


@pytest.fixture
def answer() -> Home:
    home = Home(pipeline, "answer")
    home.tell(request(Question("why?")))
    return home


class Word(Record):
    text: str


def strict() -> Pipeline:
    """Its last stage takes the first of the words, and raises where there is none."""
    made = Pipeline("factcheck", request=Question)

    @made.map()
    async def words(question: Question) -> list[Word]:
        return [Word(question.prompt)]

    @made.gather
    def first(words: Gather[Word]) -> First:
        return First(next(iter(words)).text)

    return made


class First(Record):
    text: str


class TestFailures:
    def test_a_failed_leaf_cascades_down_to_the_root(self) -> None:
        failed = items("answer", "", Child(status=Status.FAILED, cause="bad"), close=Close(1))
        report = Home(pipeline, "report")
        report.tell(request(Question("why?")), failed)
        out = Home(pipeline, "claims").tell(failed)
        assert works(out) == []
        (told,) = items_to(out, "report")
        assert told.close == Close(0, Status.FAILED, "its input failed: bad")
        assert sent(out, "dead-letters.") == []  # the leaf itself has one already
        done = events(report.tell(told))
        assert [e.kind for e in done] == [EventKind.DONE]
        assert msgspec.json.decode(done[0].body)["status"] == "ok"

    def test_a_failed_stream_at_the_root_fails_the_request(self) -> None:
        report = Home(pipeline, "report")
        out = report.tell(request(Question("why?")), items("answer", "", close=Close(0, Status.FAILED, "gone")))
        body = msgspec.json.decode(events(out)[-1].body)
        assert (body["status"], body["cause"]) == ("failed", "answer: gone")

    def test_a_value_of_another_type_is_a_failed_leaf(self) -> None:
        out = Home(pipeline, "claims").tell(items("answer", "", {"other": 1}))
        assert [i.close.cause for i in items_to(out, "report")] == ["claims raised ValidationError"]  # type: ignore[union-attr]
        out = Home(pipeline, "evidence").tell(items("queries", "0/0", 7))
        assert runs(out) == []
        assert [i.close.status for i in items_to(out, "verdict")] == [Status.FAILED]  # type: ignore[union-attr]

    @pytest.mark.parametrize("record", [items("answer", "x/y"), Retract(REQUEST_ID, "answer", "x", 0, 1)])
    def test_what_can_never_succeed_is_poison(self, record: Items | Retract) -> None:
        home = Home(pipeline, "claims")
        before = encode_row(home.row)
        with pytest.raises(Poison):
            home.tell(record)
        assert encode_row(home.row) == before


class TestMap:
    def test_run_result_close(self) -> None:
        home = Home(pipeline, "evidence")
        out = home.tell(items("queries", "0/0", Query("q")))
        assert [(r.path, r.attempt) for r in runs(out)] == [("0/0/0", 1)]
        assert home.machine.arguments(home.row, "0/0/0") == {"query": Query("q")}
        assert [a.at_ms for a in arms(out)] == [home.now_ms + 30_000]
        found = [Child(Raw(msgspec.json.encode(Passage("p"))))]
        out = home.tell(Result(REQUEST_ID, "0/0/0", 1, "any", found))
        (told,) = items_to(out, "verdict")
        assert (told.path, told.close) == ("0/0/0", Close(1))
        assert home.tell(Result(REQUEST_ID, "0/0/0", 1, "other", found)) == []

    def test_a_silence_runs_it_again(self) -> None:
        home = Home(pipeline, "evidence")
        (armed,) = arms(home.tell(items("queries", "0/0", Query("q"))))
        assert [r.attempt for r in runs(home.tell(Timer(REQUEST_ID, "0/0/0", 1, armed.mark)))] == [2]
        assert home.tell(Result(REQUEST_ID, "0/0/0", 1, "late", [])) == []

    def test_a_new_owner_runs_it_again(self) -> None:
        home = Home(pipeline, "evidence")
        home.tell(items("queries", "0/0", Query("q")))
        out = home.resumed()
        assert [r.path for r in runs(out)] == [a.path for a in arms(out)] == ["0/0/0"]


class TestBarrier:
    def test_a_call_waits_for_the_whole_stage_before(self) -> None:
        home = Home(pipeline, "queries")
        context = request(Question("why?"), Mode.BARRIER).context

        def told(record: Items) -> list[str]:
            return [w.path for w in works(home.tell(msgspec.structs.replace(record, context=context)))]

        assert told(items("claims", "0", Claim("a"), close=Close(1))) == []
        assert told(items("claims", "1", Claim("b"))) == []
        assert told(items("answer", "", close=Close(2))) == []
        assert told(items("claims", "1", close=Close(1))) == ["0/0", "1/0"]

    def test_the_coarse_parser_reads(self) -> None:
        home = Home(pipeline, "answer")
        home.tell(request(Question("why?"), Mode.BARRIER), start(""))
        out = home.tell(chunk("", 0, "one\ntwo\n", end=STOP))
        assert children(items_to(out, "claims")) == [{"text": "one\ntwo\n"}]


class TestRequest:
    def test_the_end_is_told_after_the_beginning(self) -> None:
        report = Home(pipeline, "report")
        assert report.tell(items("answer", "", close=Close(0))) == []
        out = report.tell(request(Question("why?")))
        assert [e.kind for e in events(out)] == [EventKind.ACCEPTED, EventKind.DONE]
        forgotten = {s for s in OTHERS if sent(out, f"chunks.factcheck.{s}") == [Forget(REQUEST_ID)]}
        assert sorted(forgotten) == OTHERS

    def test_a_verdict_each_and_then_the_report(self) -> None:
        report = Home(pipeline, "report")
        report.tell(request(Question("why?")), items("answer", "", close=Close(1)))
        report.tell(items("verdict", "0/0", Verdict("True"), close=Close(1)))
        out = report.tell(items("claims", "0", Claim("c"), close=Close(1)))
        body = msgspec.json.decode(events(out)[0].body)
        assert body["result"] == {"claims": {"0/0": "c"}, "verdicts": {"0/0/0": "True"}, "failures": {}}

    def test_the_deadline(self) -> None:
        report = Home(pipeline, "report")
        (armed,) = arms(report.tell(request(Question("why?"), deadline_ms=9_000)))
        assert (armed.attempt, armed.at_ms) == (0, 9_000)
        early = Timer(REQUEST_ID, "", armed.attempt, armed.mark)
        assert arms(report.tell(early)) == [armed]  # its clock is ahead of the log's: once more
        report.now_ms = 9_000
        out = report.tell(early)
        assert msgspec.json.decode(events(out)[0].body)["cause"] == "deadline exceeded"
        assert sent(out, "control.") == [Cancelled(REQUEST_ID, "")]
        assert report.tell(early) == []

    def test_a_deadline_carries_what_was_known_by_then(self) -> None:
        report = Home(pipeline, "report")
        (armed,) = arms(report.tell(request(Question("why?"), deadline_ms=9_000)))
        told = [items("answer", "", close=Close(2)), items("claims", "0", Claim("c"), close=Close(1))]
        for each in [*told, items("verdict", "0/0", Verdict("True"), close=Close(1))]:
            report.tell(msgspec.structs.replace(each, context=Context(deadline_ms=9_000)))
        report.now_ms = 9_000
        body = msgspec.json.decode(events(report.tell(Timer(REQUEST_ID, "", armed.attempt, armed.mark)))[0].body)
        assert (body["status"], body["cause"]) == ("failed", "deadline exceeded")
        assert body["result"] == {"claims": {"0/0": "c"}, "verdicts": {"0/0/0": "True"}, "failures": {}}

    def test_a_last_stage_that_needs_all_of_it_leaves_the_result_of_a_deadline_empty(self) -> None:
        home = Home(strict(), "first")
        (armed,) = arms(home.tell(request(Question("q"), deadline_ms=9_000)))
        home.now_ms = 9_000
        out = home.tell(Timer(REQUEST_ID, "", armed.attempt, armed.mark))
        body = msgspec.json.decode(events(out)[0].body)
        assert (body["status"], body["result"]) == ("failed", None)
        assert sent(out, "dead-letters.") == []

    def test_one_that_comes_after_its_deadline_ends_as_it_begins(self) -> None:
        report = Home(pipeline, "report")
        out = report.tell(request(Question("why?"), deadline_ms=report.now_ms))
        assert [e.kind for e in events(out)] == [EventKind.ACCEPTED, EventKind.DONE]
        assert msgspec.json.decode(events(out)[1].body)["cause"] == "deadline exceeded"
        assert arms(out) == []

    def test_a_new_owner_keeps_the_deadline(self) -> None:
        report = Home(pipeline, "report")
        armed = arms(report.tell(request(Question("why?"), deadline_ms=9_000)))
        assert report.resumed() == armed

    def test_the_first_terminal_record_wins(self) -> None:
        report = Home(pipeline, "report")
        out = report.tell(request(Question("why?")), Cancel(REQUEST_ID, "", cause="enough"))
        assert msgspec.json.decode(events(out)[-1].body)["status"] == "cancelled"
        assert report.tell(Cancel(REQUEST_ID, ""), items("answer", "", close=Close(0)), request(Question("why?"))) == []

    def test_only_the_root_can_be_cancelled(self, answer: Home) -> None:
        with pytest.raises(Poison, match="as a whole, at its root"):
            answer.tell(Cancel(REQUEST_ID, ""))

    def test_forgetting_leaves_a_marker(self, answer: Home) -> None:
        answer.tell(start(""), chunk("", 0, "one\ntwo"))
        over = answer.tell(Forget(REQUEST_ID))
        assert sent(over, "control.") == [Ended(REQUEST_ID, "answer", "", 1)]  # a run that still writes is to stop
        assert len(encode_row(answer.row)) <= 64
        assert answer.tell(request(Question("why?")), chunk("", 1, "x"), Timer(REQUEST_ID, "", 1, 2)) == []
        assert sent(answer.tell(start("", "b")), "control.") == [Ended(REQUEST_ID, "answer", "", 1)]
        assert answer.resumed() == []

    def test_the_marker_is_small_at_any_offset(self, answer: Home) -> None:
        answer.tell(Forget(REQUEST_ID))
        answer.row.offset = 2**63 - 1
        assert len(encode_row(answer.row)) <= 64
