"""What becomes of a call, a join and a client's view when something that they stand on is withdrawn or cut off."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from alto_streams.define.pipeline import Gather, Pipeline, Prompt
from alto_streams.errors import Poison
from alto_streams.wire.records import Cancel, Cancelled, Child, Close, Ended, EventKind, Items, Retract, Status, Timer
from tests.unit.homes import REQUEST_ID, STOP, Home, arms, chunk, events, request, sent, start, works
from tests.unit.redoing import (
    Fact,
    Judged,
    Note,
    Part,
    Question,
    Sum,
    cancels,
    one_is_bad,
    prompt,
    redoing,
    retracts,
    told,
)


class TestRedo:
    @pytest.fixture
    def home(self) -> Home:
        home = Home(redoing, "parts", forgetful=True)
        home.tell(request(Question("why?")), start(""), chunk("", 0, "one\ntw"))
        return home

    def test_a_broken_call_begins_anew(self, home: Home) -> None:
        out = home.tell(start("", "b"))
        (work,) = works(out)
        assert (work.attempt, work.prefix, work.call.max_tokens) == (2, "", 100)
        for stage in ("facts", "notes", "judge", "total"):
            assert retracts(out, stage) == [Retract(REQUEST_ID, "parts", "", 0, 1)]
        (event,) = [each for each in events(out) if each.kind is EventKind.RETRACTED]
        body = json.loads(bytes(event.body))
        assert (event.stage, event.path, body["first"], body["epoch"]) == ("parts", "", 0, 1)
        assert body["stages"] == ["parts", "facts", "notes", "judge"]

    def test_its_children_have_the_next_epoch(self, home: Home) -> None:
        home.tell(start("", "b"))
        out = home.tell(start("", "c", 2), chunk("", 0, "one\ntwo\n", "c", 2, STOP))
        (said,) = [each for each in sent(out, "chunks.factcheck.facts") if isinstance(each, Items)]
        assert (said.first, said.epoch, len(said.children)) == (0, 1, 2)
        (closed,) = [each for each in sent(out, "chunks.factcheck.total") if isinstance(each, Items)]
        assert closed.close == Close(2)
        shown = [each for each in events(home.said) if each.kind in (EventKind.CHUNK, EventKind.CLOSE)]
        assert [each.number for each in shown] == [0, 1, 2]

    def test_what_nobody_has_heard_is_not_withdrawn(self) -> None:
        home = Home(redoing, "facts")
        home.tell(told("parts", "", Part("one")), start("0"), chunk("0", 0, "half"))
        out = home.tell(start("0", "b"))
        assert retracts(out, "notes") == []
        assert [w.prefix for w in works(out)] == [""]


class TestWithdrawn:
    def test_a_call_dies_with_its_path(self) -> None:
        home = Home(redoing, "facts", forgetful=True)
        home.tell(told("parts", "", Part("one"), Part("two")), start("1"))
        out = home.tell(Retract(REQUEST_ID, "parts", "", 1, 1))
        assert sent(out, "control.") == [Ended(REQUEST_ID, "facts", "1", 1)]
        assert list(home.row.calls) == ["0"]
        assert home.tell(chunk("1", 1, "late\n", end=STOP)) == []
        assert works(home.tell(told("parts", "", Part("two"), first=1))) == []
        assert sent(home.tell(start("1", "b")), "control.") == [Ended(REQUEST_ID, "facts", "1", 1)]

    def test_what_replaces_it_begins(self) -> None:
        home = Home(redoing, "facts", forgetful=True)
        home.tell(told("parts", "", Part("one")), Retract(REQUEST_ID, "parts", "", 0, 1))
        assert [w.path for w in works(home.tell(told("parts", "", Part("new"), epoch=1)))] == ["0~1"]

    def test_a_retraction_that_comes_first_is_remembered(self) -> None:
        home = Home(redoing, "facts", forgetful=True)
        home.tell(Retract(REQUEST_ID, "parts", "", 1, 1))
        assert [w.path for w in works(home.tell(told("parts", "", Part("one"), Part("two"))))] == ["0"]

    @pytest.mark.parametrize("first", [True, False])
    def test_a_higher_epoch_is_a_retraction(self, first: bool) -> None:
        """Of a deeper stream, whose home is not the one that withdraws."""
        home = Home(redoing, "notes", forgetful=True)
        old, new = told("facts", "2", Fact("old")), told("facts", "1~1", Fact("new"))
        out = home.tell(*([new, old] if first else [old, new]))
        assert [w.path for w in works(out)] == (["1~1/0"] if first else ["2/0", "1~1/0"])
        assert list(home.row.calls) == ["1~1/0"]

    def test_a_close_of_an_older_epoch_closes_nothing(self) -> None:
        home = Home(redoing, "total")
        home.tell(request(Question("q")), Retract(REQUEST_ID, "parts", "", 0, 1))
        home.tell(told("parts", "", close=Close(0)))
        assert home.row.finished is None
        home.tell(told("parts", "", epoch=1, close=Close(0)))
        assert home.row.finished is Status.OK


class TestGather:
    @pytest.fixture
    def home(self) -> Home:
        home = Home(redoing, "judge", forgetful=True)
        home.tell(
            told("parts", "", Part("p")),
            told("facts", "0", Fact("a"), Fact("b"), close=Close(2)),
            told("notes", "0/0", Note("x"), close=Close(1)),
            told("notes", "0/1", Note("y"), close=Close(1)),
        )
        return home

    def test_an_open_call_is_ended_and_begins_anew_on_what_replaces(self, home: Home) -> None:
        assert [w.call.messages[-1].content for w in works(home.said)] == ["p:x,y"]
        out = home.tell(start("0"), Retract(REQUEST_ID, "facts", "0", 0, 1))
        assert sent(out, "control.") == [Ended(REQUEST_ID, "judge", "0", 1)]
        assert retracts(out, "total") == []  # nothing of it had been told
        out = home.tell(told("facts", "0", Fact("c"), epoch=1, close=Close(1)))
        assert works(out) == []
        out = home.tell(told("notes", "0/0~1", Note("z"), close=Close(1)))
        (work,) = works(out)
        assert (work.call.messages[-1].content, work.attempt) == ("p:z", 2)

    def test_a_finished_call_is_withdrawn_and_completes_again(self, home: Home) -> None:
        home.tell(start("0"), chunk("0", 0, "fine", end=STOP))
        out = home.tell(Retract(REQUEST_ID, "facts", "0", 0, 1))
        assert retracts(out, "total") == [Retract(REQUEST_ID, "judge", "0", 0, 1)]
        out = home.tell(told("facts", "0", epoch=1, close=Close(0)))
        (work,) = works(out)
        assert (work.call.messages[-1].content, work.attempt) == ("p:", 2)
        assert home.tell(chunk("0", 1, "late")) == []
        out = home.tell(start("0", "b", 2), chunk("0", 0, "better", "b", 2, STOP))
        said = [each for each in sent(out, "chunks.factcheck.total") if isinstance(each, Items)]
        assert [(each.path, each.epoch, each.first) for each in said] == [("0", 1, 0)]
        assert said[0].close == Close(1)

    def test_one_whose_driver_failed_stays_as_it_is(self) -> None:
        home = Home(redoing, "judge", forgetful=True)
        home.tell(told("parts", "", Child(status=Status.FAILED, cause="bad"), Part("p")))
        assert home.tell(Retract(REQUEST_ID, "facts", "1", 0, 1)) == []
        assert home.row.calls["0"].closed

    def test_it_has_its_whole_number_of_attempts_again(self, home: Home) -> None:
        home.tell(start("0"))
        for attempt in (1, 2, 3):
            home.tell(Timer(REQUEST_ID, "0", attempt, home.row.calls["0"].mark), start("0", "r", attempt + 1))
        home.tell(Retract(REQUEST_ID, "facts", "0", 0, 1), told("facts", "0", epoch=1, close=Close(0)))
        home.tell(start("0", "s", 5), Timer(REQUEST_ID, "0", 5, home.row.calls["0"].mark + 1))
        assert (home.row.calls["0"].attempt, home.row.calls["0"].closed) == (6, False)

    def test_the_whole_request_waits_for_what_replaces(self) -> None:
        home = Home(redoing, "total", forgetful=True)
        home.tell(
            request(Question("q")),
            told("parts", "", Part("p"), Part("q"), close=Close(2)),
            told("judge", "0", Judged("stale"), close=Close(1)),
            Retract(REQUEST_ID, "judge", "0", 0, 1),
            told("judge", "1", Judged("fine"), close=Close(1)),
        )
        assert home.row.finished is None
        home.tell(told("judge", "0", Judged("fresh"), epoch=1, close=Close(1)))
        (done,) = [each for each in events(home.said) if each.kind is EventKind.DONE]
        assert json.loads(bytes(done.body))["result"] == {"parts": ["p", "q"], "judged": ["fresh", "fine"]}


class TestScopedCancel:
    def test_the_root_tells_the_homes_and_the_client(self) -> None:
        home = Home(redoing, "total")
        home.tell(request(Question("q")), told("parts", "", Part("p"), Part("q"), close=Close(2)))
        home.tell(told("judge", "0", Judged("fine"), close=Close(1)))
        out = home.tell(Cancel(REQUEST_ID, "1", stage="parts"))
        for stage in ("facts", "notes", "judge"):
            assert [(each.stage, each.path) for each in cancels(out, stage)] == [("parts", "1")]
        assert cancels(out, "parts") == []
        assert sent(out, "control.") == [Cancelled(REQUEST_ID, "1", ["facts", "notes", "judge"])]
        closed, done = events(out)
        assert (closed.kind, closed.stage, closed.path) == (EventKind.CLOSE, "parts", "1")
        assert json.loads(bytes(closed.body))["status"] == "cancelled"
        assert json.loads(bytes(closed.body))["stages"] == ["facts", "notes", "judge"]
        assert json.loads(bytes(done.body))["result"] == {"parts": ["p"], "judged": ["fine"]}
        assert home.tell(Cancel(REQUEST_ID, "1", stage="parts")) == []

    def test_its_calls_are_ended_and_nothing_of_it_rises(self) -> None:
        home = Home(redoing, "facts", forgetful=True)
        home.tell(told("parts", "", Part("p"), Part("q")), start("1"))
        out = home.tell(Cancel(REQUEST_ID, "1", stage="parts"))
        assert sent(out, "control.") == [Ended(REQUEST_ID, "facts", "1", 1)]
        assert works(out) == []
        assert works(home.tell(told("parts", "", Part("q"), first=1))) == []
        assert home.tell(chunk("1", 1, "late\n")) == []

    def test_a_scope_closes_without_what_is_cancelled(self) -> None:
        home = Home(redoing, "judge", forgetful=True)
        home.tell(told("parts", "", Part("p")), told("notes", "0/0", Note("x"), close=Close(1)))
        home.tell(Cancel(REQUEST_ID, "0/1", stage="facts"), told("facts", "0", Fact("a"), Fact("b"), close=Close(2)))
        assert [w.call.messages[-1].content for w in works(home.said)] == ["p:x"]

    def test_a_join_that_has_begun_keeps_what_it_has(self) -> None:
        home = Home(redoing, "judge", forgetful=True)
        home.tell(told("parts", "", Part("p")), told("facts", "0", Fact("a"), close=Close(1)))
        home.tell(told("notes", "0/0", Note("x"), close=Close(1)), start("0"))
        assert home.tell(Cancel(REQUEST_ID, "0/0", stage="facts")) == []
        (again,) = works(home.tell(Timer(REQUEST_ID, "0", 1, 1)))
        assert again.call.messages[-1].content == "p:x"

    @pytest.mark.parametrize(("stage", "path"), [("none", "0"), ("parts", "0/1"), ("parts", ""), ("total", "0")])
    def test_what_is_no_item_is_poison(self, stage: str, path: str) -> None:
        home = Home(redoing, "total")
        home.tell(request(Question("q")))
        with pytest.raises(Poison, match="no such item"):
            home.tell(Cancel(REQUEST_ID, path, stage=stage))


class TestTime:
    def test_a_call_has_its_time(self) -> None:
        home = Home(redoing, "facts", forgetful=True)
        armed = arms(home.tell(told("parts", "", Part("p"))))
        assert [(arm.path, arm.due, arm.at_ms - home.now_ms) for arm in armed] == [("0", True, 5_000)]
        home.tell(start("0"))
        early = arms(home.tell(Timer(REQUEST_ID, "0", 1, 0, due=True)))
        assert [arm.due for arm in early] == [True]
        assert any(arm.due for arm in home.resumed() if hasattr(arm, "due"))
        home.now_ms += 5_000
        out = home.tell(Timer(REQUEST_ID, "0", 1, 0, due=True))
        (closed,) = [each for each in sent(out, "chunks.factcheck.judge") if isinstance(each, Items)]
        assert closed.close == Close(0, Status.FAILED, "facts had not ended after 5 s")
        assert sent(out, "control.") == [Ended(REQUEST_ID, "facts", "0", 1)]
        assert home.tell(Timer(REQUEST_ID, "0", 1, 0, due=True)) == []


@dataclass
class Early:
    """A request that may end early, and what its last stage is told."""

    pipeline: Pipeline = field(default_factory=lambda: Pipeline("factcheck", request=Question))

    def home(self) -> Home:
        made = self.pipeline

        @made.generate(model="m")
        def parts(question: Question) -> Prompt[Part]:
            return prompt(question.prompt, Part)

        @made.generate(model="m")
        def judge(part: Part) -> Prompt[Judged]:
            return prompt(part.text, Judged)

        @made.gather(enough=one_is_bad)
        def total(question: Question, parts: Gather[Part], judged: Gather[Judged]) -> Sum:
            return Sum([p.text for p in parts], [j.text for j in judged] + ([] if judged.complete else ["..."]))

        _ = made.root
        return Home(made, "total", forgetful=True)


class TestEarly:
    def test_only_what_is_final_ends_a_request(self) -> None:
        home = Early().home()
        home.tell(request(Question("q")), told("parts", "", Part("p"), Part("q")))
        home.tell(told("judge", "0", Judged("bad"), close=Close(1)))
        assert home.row.finished is None, "the stream above it is open"
        out = home.tell(told("parts", "", first=2, close=Close(2)))
        (done,) = events(out)
        body = json.loads(bytes(done.body))
        assert body == {
            "status": "ok",
            "result": {"parts": ["p", "q"], "judged": ["bad", "..."]},
            "early": True,
        }
        assert len(sent(out, "control.")) == 1

    def test_without_reason_it_goes_on(self) -> None:
        home = Early().home()
        home.tell(request(Question("q")), told("parts", "", Part("p"), Part("q"), close=Close(2)))
        home.tell(told("judge", "0", Judged("good"), close=Close(1)))
        assert home.row.finished is None
