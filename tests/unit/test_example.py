"""The input that `up` shows fits the request type of any pipeline."""

from __future__ import annotations

import enum
import json
import shlex
from typing import Annotated, Any, Literal

import msgspec
import pytest

from alto_streams.cli.example import ask_line, example_input
from alto_streams.define.pipeline import Pipeline, Record
from alto_streams.pipelines.factcheck import pipeline as factcheck


class Tone(enum.StrEnum):
    DRY = "dry"


class Place(Record):
    city: str
    at: tuple[float, float] | None


class Plain(Record):
    name: str


class Many(Record):
    first_name: str
    count: int
    ratio: Annotated[float, msgspec.Meta(ge=0)]
    tone: Tone
    kind: Literal["long", "short"]
    places: list[Place]
    extra: dict[str, int]
    other: int | str
    free: Any
    spot: tuple[int, str]
    path: tuple[float, ...]
    optional: str = "left out"


class Empty(Record):
    note: str = ""


@pytest.mark.parametrize("kind", [Plain, Many, Empty, Place])
def test_the_example_fits_the_type(kind: type[Record]) -> None:
    given = example_input(Pipeline("p", request=kind))
    made = msgspec.convert(given, kind)
    assert isinstance(made, kind)
    assert "optional" not in given


@pytest.mark.parametrize("kind", [Many, Empty])
def test_a_shell_gives_the_command_what_is_meant(kind: type[Record]) -> None:
    pipeline = Pipeline("p", request=kind)
    words = shlex.split(ask_line(pipeline, "http://127.0.0.1:9", is_only=False))
    assert words[:6] == ["alto-streams", "ask", "--pipeline", "p", "--gateway", "http://127.0.0.1:9"]
    assert json.loads(words[6]) == example_input(pipeline)


def test_a_pipeline_shows_its_own_example() -> None:
    assert ask_line(factcheck) == 'alto-streams ask "What is the capital of Nauru?"'
    pipeline = Pipeline("p", request=Plain)
    pipeline.examples(Plain("it's"))
    assert ask_line(pipeline) == 'alto-streams ask "it\'s"'
    assert shlex.split(ask_line(Pipeline("p", request=Plain))) == ["alto-streams", "ask", "a name"]
