"""A pipeline of one generating stage: a story for each request, which its client reads as it is written."""

from __future__ import annotations

from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Message

MODEL = "teller"
TOKENS = 64


class Theme(Record):
    """The request."""

    about: str


class Line(Record):
    """A line of the story."""

    text: str


class Story(Record):
    """Its lines in their order."""

    lines: list[str]


pipeline = Pipeline("stories", request=Theme)


@pipeline.generate(model=MODEL, show="text")
def lines(theme: Theme) -> Prompt[Line]:
    asked = f"Tell a story about {theme.about}."
    return Prompt([Message("system", "You tell stories.")], asked, Lines(Line), TOKENS, seed=1)


@pipeline.gather
def story(lines: Gather[Line]) -> Story:
    return Story([line.text for line in lines])
