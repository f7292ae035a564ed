"""The story of a request as JSON and as lines: record, decision, what followed. Pure; no user text unless asked."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from alto_streams.cli.record_words import followed, said, text_of
from alto_streams.history.retelling import CallStory, Deciding, Step, calls_of, end_of
from alto_streams.history.story import Story
from alto_streams.tables.decisions import Cause, Decision, Did
from alto_streams.tables.joins import child_paths
from alto_streams.wire.paths import is_under
from alto_streams.wire.records import Items

Fields = dict[str, Any]
SHOWN_MOST = 50  # calls of a summary

WORDS = {
    Did.OPENED: "all inputs are there: attempt 1 begins",
    Did.FOLLOWED: "this run is followed",
    Did.ACCEPTED: "accepted",
    Did.IGNORED: "ignored",
    Did.REPLIED: "ignored, and its worker told to stop",
    Did.RETRIED: "the attempt is over; attempt {attempt} begins",
    Did.CLOSED: "closed {status}",
    Did.RETRACTED: "what the call had told is withdrawn",
    Did.WITHDRAWN: "the call is gone with its input",
    Did.HELD: "the call waits: inputs that it began with were withdrawn",
    Did.CANCELLED: "cancelled, with all that derives from it",
    Did.LETTER: "a dead letter",
    Did.ENDED: "the request has ended: {status}",
}


def summary(story: Story) -> Fields:
    """All of a request that one line may hold: how it ended, and the calls that did not go as they should."""
    calls, ended = calls_of(story.steps), end_of(story.steps)
    return {
        "request": story.request,
        "pipeline": story.pipeline.name,
        "at": _time(story.made_ms),
        "status": None if story.became is None else story.became.status,
        "done_s": None if story.became is None else story.became.done_s,
        "ended": None if ended is None else _deciding(ended),
        "calls": len(calls),
        "troubled": [_call(each) for each in calls if not each.is_well],
        "letters": [
            {"id": str(each.id), "stage": each.letter.stage, "path": each.letter.path, "cause": each.letter.cause}
            for each in story.letters
        ],
        "may_lack": story.may_lack,
    }


def told(story: Story) -> Iterator[str]:
    """The summary as lines, with the command that shows more of each call."""
    fields = summary(story)
    how = (
        "still under way" if story.became is None else f"ended {story.became.status} after {story.became.done_s:.2f} s"
    )
    yield f"request {story.request} of {story.pipeline.name}, {_time(story.made_ms)}: {how}"
    if (ended := fields["ended"]) is not None:
        yield f"  {_because(ended)}, by {ended['record']} ({ended['place']})"
    if story.may_lack:
        yield f"older than what is kept in {', '.join(story.may_lack)}: some records may be missing"
    if not story.steps:
        not_yet = "it was not let in yet: is the worker of the pipeline's last stage running?"
        yield f"no home has a record of it: {'they are gone' if story.may_lack else not_yet}"
        return
    if ended is not None and story.became is not None and ended["status"] != story.became.status:
        yield "the log was told again with other results: are ALTO_PIPELINES, the code and ALTO_* those of the workers?"
    troubled = fields["troubled"]
    yield f"{fields['calls']} calls, {fields['calls'] - len(troubled)} of them by their first attempt and whole"
    if troubled:
        yield "calls that failed, lost an item or were tried again:"
    for call in troubled[:SHOWN_MOST]:
        yield from _told_call(story, call)
    if len(troubled) > SHOWN_MOST:
        yield f"  and {len(troubled) - SHOWN_MOST} more (--json shows all)"
    for letter in fields["letters"][:SHOWN_MOST]:
        yield f"dead letter {letter['id']}: {_name(letter['stage'], letter['path'])}: {letter['cause']}"
    if troubled:
        yield f"each record: {_command(story, troubled[0]['stage'], troubled[0]['path'])}"
    else:
        yield f"each record of a stage: {_command(story, story.pipeline.root, None)}"


def steps_of(story: Story, stage: str, path: str | None) -> list[Step]:
    """The records at a stage's home; those that concern the call at `path` if one is given."""
    own = [step for step in story.steps if step.stage == stage]
    return own if path is None else [step for step in own if _concerns(step, path)]


def fields(story: Story, step: Step, *, text: bool) -> Fields:
    """All of one step. `after_s`: since the request's id was made."""
    at = step.at
    shown: Fields = {
        "stage": step.stage,
        "topic": at.topic,
        "partition": at.partition,
        "offset": at.offset,
        "at": _time(at.at_ms),
        "after_s": (at.at_ms - story.made_ms) / 1000,
        "record": said(step.record),
        "decided": [_decision(each) for each in step.decided],
        "followed": followed(step.asked, at.at_ms),
    }
    if step.refused:
        shown["refused"] = step.refused
    if text and step.record is not None:
        shown["text"] = text_of(step.record)
    return shown


def told_steps(story: Story, stage: str, path: str | None, steps: Iterable[Fields]) -> Iterator[str]:
    """Steps as lines: the record, below it what was decided, below that what the home did."""
    yield f"request {story.request}, {_name(stage, path or '')}: each record, what was decided, and what followed"
    none = True
    for step in steps:
        none = False
        yield f"{step['after_s']:9.3f} s  {_place(step)}  {step['record']}"
        if "text" in step:
            yield f"{'':13}  text: {step['text']}"
        for each in step["decided"] or ([] if step.get("refused") else [None]):
            yield f"{'':13}  decided: {'noted; nothing is ready' if each is None else _because(each, path)}"
        for each in step["followed"]:
            yield f"{'':13}  then: {each}"
    if none:
        yield "no record" if path is None else f"no record concerns {path}; without --path all of {stage} are shown"


def _told_call(story: Story, call: Fields) -> Iterator[str]:
    how = "still open" if call["closed"] is None else _because(call["closed"])
    yield f"  {_name(call['stage'], call['path'])}: {how}; {call['attempts']} attempt(s)"
    for each in (*call["retries"], *call["letters"]):
        yield f"    {_because(each)}, by {each['record']} ({each['place']}, {each['time']})"
        yield from (f"      {line}" for line in each.get("trace", "").splitlines())
    if call["closed"] is not None and call["closed"]["cause"] == Cause.INPUT:
        driver = story.pipeline.stages[call["stage"]].node.driver
        yield f"    its input is the item of {driver} at {call['path']}"


def _call(call: CallStory) -> Fields:
    return {
        "stage": call.stage,
        "path": call.path,
        "attempts": call.attempts,
        "closed": None if call.closed is None else _deciding(call.closed),
        "retries": [_deciding(each) for each in call.retries],
        "letters": [_deciding(each) for each in call.letters],
    }


def _deciding(each: Deciding) -> Fields:
    at = each.step.at
    place = f"{at.topic}-{at.partition}@{at.offset}"
    return {**_decision(each.decision), "record": said(each.step.record), "place": place, "time": _time(at.at_ms)}


def _decision(each: Decision) -> Fields:
    shown = {"did": each.did, "path": each.path, "attempt": each.attempt, "cause": each.cause, "why": each.why}
    shown |= {} if each.status is None else {"status": each.status}
    return shown | ({"trace": each.trace} if each.trace else {})


def _because(each: Fields, path: str | None = None) -> str:
    """A decision in words; of another call than the one that is asked for, with its path."""
    words = WORDS[each["did"]].format(attempt=each["attempt"], status=each.get("status") or "")
    where = f"call {each['path']}: " if path is not None and each["path"] not in ("", path) else ""
    cause = f", cause {each['cause']}" if each["cause"] else ""
    return f"{where}{words}{cause}" + (f" ({each['why']})" if each["why"] else "")


def _concerns(step: Step, path: str) -> bool:
    """Whether a record is about a call, or brought one of its inputs."""
    if any(each.path == path for each in step.decided):
        return True
    if not isinstance(step.record, Items):
        return getattr(step.record, "path", None) == path
    return is_under(step.record.path, path) or any(is_under(path, child) for child in child_paths(step.record))


def _place(step: Fields) -> str:
    return f"{step['topic']}-{step['partition']}@{step['offset']}"


def _name(stage: str, path: str) -> str:
    return f"{stage} {path}".rstrip()


def _command(story: Story, stage: str, path: str | None) -> str:
    shown = "" if path is None else f" --path {shlex.quote(path)}"
    return f"alto-streams story {story.request} --stage {stage}{shown}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
