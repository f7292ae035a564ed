"""A pipeline whose stages begin anew when a call breaks, and what its homes are told in tests."""

from __future__ import annotations

from typing import Any

from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Cancel, Close, Items, Retract
from tests.simulation.redo import Fact, Judged, Note, Part, Question
from tests.simulation.script import Lines
from tests.unit.homes import REQUEST_ID, items, sent

__all__ = [
    "Fact",
    "Judged",
    "Note",
    "Part",
    "Question",
    "Sum",
    "cancels",
    "one_is_bad",
    "prompt",
    "redoing",
    "retracts",
    "told",
]


class Sum(Record, frozen=True):
    parts: list[str]
    judged: list[str]


redoing = Pipeline("factcheck", request=Question)


def prompt(text: str, item: Any) -> Prompt[Any]:
    return Prompt([], text, Lines(item), max_tokens=100)


@redoing.generate(model="m", show="text", broken="redo")
def parts(question: Question) -> Prompt[Part]:
    return prompt(question.prompt, Part)


@redoing.generate(model="m", broken="redo", within_s=5.0)
def facts(part: Part) -> Prompt[Fact]:
    return prompt(part.text, Fact)


@redoing.generate(model="m")
def notes(fact: Fact) -> Prompt[Note]:
    return prompt(fact.text, Note)


@redoing.generate(model="m")
def judge(part: Part, found: Gather[Note]) -> Prompt[Judged]:
    return prompt(part.text + ":" + ",".join(n.text for n in found), Judged)


def one_is_bad(question: Question, parts: Gather[Part], judged: Gather[Judged]) -> bool:
    return any(each.text == "bad" for each in judged)


@redoing.gather
def total(question: Question, parts: Gather[Part], judged: Gather[Judged]) -> Sum:
    return Sum([p.text for p in parts], [j.text for j in judged])


_ = redoing.root


def retracts(out: Any, stage: str) -> list[Retract]:
    return [each for each in sent(out, f"chunks.factcheck.{stage}") if isinstance(each, Retract)]


def cancels(out: Any, stage: str) -> list[Cancel]:
    return [each for each in sent(out, f"chunks.factcheck.{stage}") if isinstance(each, Cancel)]


def told(stage: str, path: str, *values: object, epoch: int = 0, first: int = 0, close: Close | None = None) -> Items:
    made = items(stage, path, *values, first=first, close=close)
    return Items(REQUEST_ID, stage, path, first, epoch, made.children, close)
