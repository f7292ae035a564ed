"""What a call's world is made of: the pipelines of one stage, and runs, each of which writes a text of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Chunk, End, Start
from tests.simulation.script import Lines

Kind = Literal["resume", "redo", "within", "map"]
KINDS: tuple[Kind, ...] = ("resume", "redo", "within", "map")
REQUEST_ID, WITHIN_S, MAX_TOKENS = "request-1", 5.0, 10_000


class Question(Record):
    prompt: str


class Line(Record):
    text: str


class Answer(Record):
    lines: list[str]


def _pipeline(kind: Kind) -> Pipeline:
    made = Pipeline(kind, request=Question)
    if kind == "map":

        @made.map(show="items", timeout_s=1.0)
        async def call(question: Question) -> list[Line]:
            raise AssertionError("the world makes its results up")
    else:

        @made.generate(
            model="chat",
            show="text",
            broken="redo" if kind == "redo" else "resume",
            within_s=WITHIN_S if kind == "within" else None,
        )
        def call(question: Question) -> Prompt[Line]:
            return Prompt([], question.prompt, Lines(Line), MAX_TOKENS)

    @made.gather
    def answer(question: Question, lines: Gather[Line]) -> Answer:
        return Answer([line.text for line in lines])

    _ = made.root
    return made


PIPELINES = {kind: _pipeline(kind) for kind in KINDS}


@dataclass
class Try:
    """One worker's execution of an attempt: what it writes, and how far it has come."""

    name: str
    attempt: int
    prefix: str
    pieces: list[str]
    end: End
    at: int = -1  # -1: its start is not said yet
    dead: bool = False

    def next(self) -> Any:
        """The record that it appends next."""
        if self.at < 0:
            return Start(REQUEST_ID, "", self.attempt, self.name)
        last = self.at == len(self.pieces) - 1
        text = self.pieces[self.at]
        end = self.end if last else None
        return Chunk(REQUEST_ID, "", self.attempt, self.name, self.at, text, 1, end=end)

    @property
    def over(self) -> bool:
        return self.dead or self.at >= len(self.pieces)
