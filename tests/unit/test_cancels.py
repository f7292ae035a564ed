"""What clients and homes hear of what is cancelled, withdrawn or ended early, where it overtakes other records."""

from __future__ import annotations

import json

from alto_streams.client import ClientEvent
from alto_streams.define.pipeline import Gather, Pipeline, Prompt
from alto_streams.views.transcript import Transcript
from alto_streams.wire.records import Cancel, Close, Ended, EventKind, Forget, Retract, Status
from tests.unit.homes import REQUEST_ID, STOP, Home, chunk, events, request, sent, start, works
from tests.unit.redoing import Fact, Judged, Note, Part, Question, Sum, prompt, redoing, told


def cancel(stage: str, path: str) -> Cancel:
    return Cancel(REQUEST_ID, path, stage=stage)


def test_retracted_names_only_stages_below_the_stream() -> None:
    """judge's item 0/0 (part 0, verdict 0) is not below facts' stream "0", though its path looks like it."""
    home = Home(redoing, "facts")
    home.tell(told("parts", "", Part("p")), start("0"), chunk("0", 0, "one\n"))
    out = home.tell(start("0", "b"))
    (event,) = [each for each in events(out) if each.kind is EventKind.RETRACTED]
    assert set(json.loads(bytes(event.body))["stages"]) == {"facts", "notes"}


def test_a_client_keeps_a_verdict_that_was_never_withdrawn() -> None:
    facts, judge = Home(redoing, "facts"), Home(redoing, "judge")
    facts.tell(told("parts", "", Part("p")), start("0"), chunk("0", 0, "one\n"), start("0", "b"))
    judge.tell(told("parts", "", Part("p")), Retract(REQUEST_ID, "facts", "0", 0, 1))
    judge.tell(told("facts", "0", epoch=1, close=Close(0)), start("0"), chunk("0", 0, "fine", end=STOP))
    transcript = Transcript()
    for n, each in enumerate([*events(facts.said), *events(judge.said)]):
        body = json.loads(bytes(each.body))
        fields = {"id": str(n), "kind": each.kind, "stage": each.stage, "path": each.path, "number": each.number}
        known = {k: v for k, v in {**fields, "at_ms": 0, "body": body}.items() if k in ClientEvent.__annotations__}
        transcript.hear(ClientEvent(**known), 0.0)
    assert [item.path for item in transcript.of("judge")] == ["0/0"]


def test_cancel_overtakes_the_retraction_at_a_home() -> None:
    """A home that knows part 0 of epoch 0 hears of the cancel of 0~1 (from the root) before parts' Retract."""
    home = Home(wide(), "judge", forgetful=True)
    home.tell(request(Question("q")), told("parts", "", Part("old")))
    home.tell(cancel("parts", "0~1"))
    home.tell(Retract(REQUEST_ID, "parts", "", 0, 1))
    home.tell(told("parts", "", Part("new"), Part("other"), epoch=1, close=Close(2)))
    assert [w.call.messages[-1].content for w in works(home.said)] == ["q:other"]


def test_cancel_overtakes_the_retraction_at_the_root() -> None:
    """The client saw 0~1 (results), the root has not heard of epoch 1: either refuse it or obey it, but end."""
    home = Home(redoing, "total", forgetful=True)
    home.tell(request(Question("q")), told("parts", "", Part("old")))
    home.tell(cancel("parts", "0~1"))
    home.tell(Retract(REQUEST_ID, "parts", "", 0, 1))
    home.tell(told("parts", "", Part("new"), epoch=1, close=Close(1)))
    home.tell(told("judge", "0~1", Judged("fine"), close=Close(1)))
    assert home.row.finished is Status.OK


def test_cancel_of_an_epoch_that_never_comes_accounts_for_nothing() -> None:
    home = Home(redoing, "total", forgetful=True)
    home.tell(request(Question("q")), told("judge", "0", Judged("fine")))
    home.tell(cancel("parts", "0~7"))
    home.tell(told("parts", "", Part("p"), close=Close(1)))
    assert home.row.finished is None, "judge's stream at 0 has not closed"


def test_a_late_cancel_of_a_dead_item_accounts_for_nothing() -> None:
    home = Home(redoing, "judge", forgetful=True)
    home.tell(told("parts", "", Part("p")), told("facts", "0", Fact("old")))
    home.tell(Retract(REQUEST_ID, "facts", "0", 0, 1))
    home.tell(cancel("facts", "0/0"))  # the root had not heard of the retraction when it passed this on
    out = home.tell(told("facts", "0", Fact("new"), epoch=1, close=Close(1)))
    assert works(out) == [], "the notes of 0/0~1 are still to come"
    (work,) = works(home.tell(told("notes", "0/0~1", Note("n"), close=Close(1))))
    assert work.call.messages[-1].content == "p:n"


def test_the_prompt_of_a_begun_call_never_changes() -> None:
    prompts = []
    for forgetful in (False, True):
        home = Home(redoing, "judge", forgetful=forgetful)
        home.tell(told("parts", "", Part("p"), Part("q")), told("facts", "0", Fact("a"), close=Close(1)))
        home.tell(told("notes", "0/0", Note("x"), close=Close(1)), start("0"), chunk("0", 0, "ha"))
        home.tell(cancel("facts", "0/0"))
        home.tell(Retract(REQUEST_ID, "facts", "1", 0, 1))  # of another part
        (again,) = works(home.tell(start("0", "b")))
        prompts.append((again.prefix, again.call.messages[-1].content))
    assert prompts == [("ha", "p:x")] * 2


def test_a_cancelled_input_of_a_begun_call_does_not_fail_as_well() -> None:
    home = Home(wide(), "judge", forgetful=True)
    home.tell(request(Question("q")), told("parts", "", Part("p"), close=Close(1)), start(""))
    home.tell(cancel("parts", "0"))
    found = home.machine.arguments(home.row, "")["parts"]
    assert (len(found), found.failures) == (1, {})


def test_forgetting_ends_what_still_runs() -> None:
    """Reached as: parts redone with fewer items; the root is done and its Forget overtakes parts' Retract."""
    home = Home(redoing, "notes")
    home.tell(told("facts", "0", Fact("x")), start("0/0"))
    out = home.tell(Forget(REQUEST_ID))
    assert sent(out, "control.") == [Ended(REQUEST_ID, "notes", "0/0", 1)]


def test_a_failure_that_may_be_withdrawn_ends_nothing() -> None:
    home = Home(early(lambda q, parts, judged: bool(judged.failures)), "total", forgetful=True)
    home.tell(request(Question("q")), told("parts", "", Part("p"), Part("q")))  # open, and it may be redone
    home.tell(told("judge", "0", close=Close(0, Status.FAILED, "bad")))
    assert home.row.finished is None


def test_an_early_end_does_not_need_another_close() -> None:
    """The request itself is the last to come to the root."""
    home = Home(early(lambda q, parts, judged: any(j.text == "bad" for j in judged)), "total", forgetful=True)
    home.tell(told("parts", "", Part("p"), Part("q"), close=Close(2)))
    home.tell(told("judge", "0", Judged("bad"), close=Close(1)))
    home.tell(request(Question("q")))
    assert home.row.finished is Status.OK


def test_an_item_that_never_came_is_no_failure() -> None:
    home = Home(early(lambda q, parts, judged: False), "total", forgetful=True)
    home.tell(request(Question("q")))
    home.tell(cancel("parts", "5"))
    home.tell(told("parts", "", Part("p"), close=Close(1)), told("judge", "0", Judged("j"), close=Close(1)))
    assert SEEN[-1] == {}


def test_cancelling_what_has_ended_changes_nothing() -> None:
    home = Home(redoing, "total", forgetful=True)
    home.tell(request(Question("q")), told("parts", "", Part("p"), Part("q"), close=Close(2)))
    home.tell(told("judge", "0", Judged("fine"), close=Close(1)))
    assert home.tell(cancel("parts", "0")) == []


def test_a_cancelled_item_names_the_stages_below_it() -> None:
    home = Home(redoing, "total")
    home.tell(request(Question("q")), told("parts", "", Part("p")))
    (closed,) = events(home.tell(cancel("parts", "0")))
    assert set(json.loads(bytes(closed.body))["stages"]) == {"facts", "notes", "judge"}


SEEN: list[dict[str, str]] = []


def wide() -> Pipeline:
    made = Pipeline("factcheck", request=Question)

    @made.generate(model="m", broken="redo")
    def parts(question: Question) -> Prompt[Part]:
        return prompt(question.prompt, Part)

    @made.generate(model="m")
    def judge(question: Question, parts: Gather[Part]) -> Prompt[Judged]:
        return prompt(question.prompt + ":" + ",".join(p.text for p in parts), Judged)

    @made.gather
    def total(question: Question, judged: Gather[Judged]) -> Sum:
        return Sum([], [j.text for j in judged])

    _ = made.root
    return made


def early(enough: object) -> Pipeline:
    made = Pipeline("factcheck", request=Question)

    @made.generate(model="m", broken="redo")
    def parts(question: Question) -> Prompt[Part]:
        return prompt(question.prompt, Part)

    @made.generate(model="m")
    def judge(part: Part) -> Prompt[Judged]:
        return prompt(part.text, Judged)

    def is_enough(question: Question, parts: Gather[Part], judged: Gather[Judged]) -> bool:
        return enough(question, parts, judged)  # type: ignore[operator]

    @made.gather(enough=is_enough)
    def total(question: Question, parts: Gather[Part], judged: Gather[Judged]) -> Sum:
        SEEN.append(parts.failures)
        return Sum([p.text for p in parts], [j.text for j in judged])

    _ = made.root
    return made


def test_a_cancelled_item_names_only_stages_below_it() -> None:
    """judge's items stand at part/verdict, not below the item 0/0 of facts: a client would drop the verdict 0/0."""
    home = Home(redoing, "total")
    home.tell(request(Question("q")), told("parts", "", Part("p")))
    (closed,) = events(home.tell(cancel("facts", "0/0")))
    assert set(json.loads(bytes(closed.body))["stages"]) == {"notes"}
