"""What an author imports: all from `alto_streams`, with types that mypy checks outside the checkout, and lazily."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import alto_streams
from tests.readme import write_summaries

WRONG = """
from collections.abc import AsyncIterator

from alto_streams import Client, Gather, JsonLines, Lines, Message, Pipeline, Prompt, Record, Sentences


class Topic(Record):
    name: str


class Point(Record):
    text: str


class Other(Record):
    left: str
    right: str


class Page(Record):
    points: list[str]


pipeline = Pipeline("wrong", request=dict)  # E: arg-type
right = Pipeline("right", request=Topic)


@right.generate(model="chat", show="texts")  # E: arg-type
def points(topic: Topic) -> Prompt[Point]:
    return Prompt(fixed=[Message("system", 3)], variable=topic.name, parse=Lines(Point), max_tokens=9)  # E: arg-type


@right.generate(model="chat")  # E: type-var
def unwrapped(topic: Topic) -> Point:
    return Point(topic.text)  # E: attr-defined


@right.generate(model="chat")
def of_another(topic: Topic) -> Prompt[Point]:
    return Prompt([], topic.name, JsonLines(Other), 9)  # E: arg-type


@right.generate(model="chat")
def of_two_fields(topic: Topic) -> Prompt[Other]:
    return Prompt([], topic.name, Sentences(Other), 9)  # E: arg-type


@right.map  # E: type-var
def not_async(point: Point) -> Other:
    return Other(point.text)  # E: call-arg


@right.map(timeout_s="3")  # E: call-overload untyped-decorator
async def other(point: Point) -> list[Other]:
    return [Other(point.text, point.text)]


@right.gather
def page(points: Gather[Point]) -> Page:
    return Page([point.name for point in points])  # E: attr-defined


async def asked() -> int:
    async with Client(["http://127.0.0.1:8600"]) as client:
        return await client.submit("right", {"name": "x"})  # E: return-value
"""


def test_all_names_are_there() -> None:
    for name in alto_streams.__all__:
        assert getattr(alto_streams, name).__name__ == name
    assert {"Pipeline", "Prompt", "Record", "Gather", "Message", "Lines", "JsonLines", "Sentences", "Client"} <= set(
        dir(alto_streams)
    )
    with pytest.raises(AttributeError, match="has no attribute 'Pipelines'"):
        _ = alto_streams.Pipelines


@pytest.mark.parametrize(
    ("statement", "spared"),
    [
        ("import alto_streams", ("msgspec", "importlib.metadata", "alto_streams.define", "alto_streams.client")),
        ("from alto_streams import Gather, Lines, Pipeline, Prompt, Record", ("httpx", "alto_streams.client")),
    ],
)
def test_what_is_not_asked_for_is_not_imported(statement: str, spared: tuple[str, ...]) -> None:
    said = run("-c", f"import sys\n{statement}\nprint([name for name in {spared!r} if name in sys.modules])")
    assert said.stdout == "[]\n", said.stderr


def test_mypy_passes_what_is_right_and_finds_what_is_wrong(tmp_path: Path) -> None:
    right = write_summaries(tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    said = run(
        *("-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--no-pretty", "--hide-error-context"),
        *(f"--cache-dir={tmp_path / 'cache'}", right.name, wrong.name),
        folder=tmp_path,
    )
    found = {
        (line.split(":")[0], int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")) for line in errors(said)
    }
    expected = {
        (wrong.name, number, code)
        for number, line in enumerate(WRONG.splitlines(), 1)
        if "# E: " in line
        for code in line.rpartition("# E: ")[2].split()
    }
    assert found == expected, said.stdout + said.stderr


def errors(said: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in said.stdout.splitlines() if ": error: " in line]


def run(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
