"""A small pipeline with each kind of stage, two levels deep, and the recording that a scripted engine plays for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Call, Message

MODEL = "small"
RECORDED = {"small.lines": "the first line\nthe second line\n", "small.notes": "a note on it\n"}


class Topic(Record):
    """The request."""

    name: str


class Line(Record):
    """A line of the answer."""

    text: str


class Found(Record):
    """What is found for a line."""

    text: str


class Note(Record):
    """What is said of a line."""

    text: str


class Page(Record):
    """All notes."""

    notes: list[str]


pipeline = Pipeline("small", request=Topic)


@pipeline.generate(model=MODEL, show="text")
def lines(topic: Topic) -> Prompt[Line]:
    return Prompt([Message("system", "lines")], topic.name, Lines(Line, limit=2), 64)


@pipeline.map()
async def found(line: Line) -> list[Found]:
    return [Found(line.text)]


@pipeline.generate(model=MODEL)
def notes(line: Line, findings: Gather[Found]) -> Prompt[Note]:
    return Prompt([Message("system", "notes")], line.text, Lines(Note, limit=1), 64)


@pipeline.gather
def page(notes: Gather[Note]) -> Page:
    return Page([note.text for note in notes])


def script(path: Path) -> Callable[[str, Call], str | None]:
    """The same completions whatever is asked."""
    return lambda prompt_class, call: RECORDED.get(prompt_class)
