"""Answers of any length, each an LM call that its client reads as it is written; nothing else happens to them.

The name of a request says how many words its answer has. Played by a scripted engine with the reference timing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Call, Message

MODEL = "long"
WORDS_OF_LINE, LINES = 20, 500
TOKENS = 2 * WORDS_OF_LINE * LINES


class Topic(Record):
    """The request; see `named`."""

    name: str


class Line(Record):
    """A line of the answer."""

    text: str


class Count(Record):
    """How many lines the answer had."""

    lines: int


pipeline = Pipeline("answers", request=Topic)


@pipeline.generate(model=MODEL, show="text")
def lines(topic: Topic) -> Prompt[Line]:
    return Prompt([Message("system", "lines")], topic.name, Lines(Line, limit=LINES), TOKENS)


@pipeline.gather
def count(lines: Gather[Line]) -> Count:
    return Count(len(lines))


def named(words: int, number: int) -> str:
    """The name of a request whose answer has so many words."""
    return f"{words} words for {number}"


def answer(name: str) -> str:
    """What is written for the request of this name."""
    words = int(name.partition(" ")[0])
    said = [f"word{number:016d}" for number in range(words)]  # long, so that there is much to read
    return "".join(f"{' '.join(said[at : at + WORDS_OF_LINE])}\n" for at in range(0, words, WORDS_OF_LINE))


def script(path: Path) -> Callable[[str, Call], str | None]:
    """Nothing is recorded: the prompt says what to write."""
    return lambda prompt_class, call: answer(call.messages[-1].content)
