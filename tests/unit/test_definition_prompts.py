"""Prompts that can be no call, and parsers that would find nothing, are refused with the field and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alto_streams.define.parsers import JsonLines, Lines, Sentences, Whole
from alto_streams.define.pipeline import Prompt, Record
from alto_streams.wire.records import Message
from tests.unit.definitions import a, of, refused
from tests.unit.shapes import A, B, C, Q

SHARED = Lines(A)


class Lost(Record):
    part: Nowhere  # type: ignore[name-defined]  # noqa: F821


def of_another(q: Q) -> Prompt[A]:
    return Prompt(fixed=[], variable=q.text, parse=Lines(B), max_tokens=10)


def of_another_by_place(q: Q) -> Prompt[A]:
    return Prompt([], q.text, JsonLines(kind=C), 10)


def of_another_by_way_of_a_helper(q: Q) -> Prompt[A]:
    return prompt(q.text, parse=Sentences(B))


def prompt(text: str, parse: Any) -> Prompt[Any]:
    return Prompt([], text, parse, 10)


def of_a_shared_one(q: Q) -> Prompt[A]:
    return Prompt([], q.text, SHARED, 10)


def of_no_tokens(q: Q) -> Prompt[A]:
    return Prompt([], q.text, Lines(A), max_tokens=0)


def of_fewer_tokens(q: Q) -> Prompt[A]:
    return Prompt([], q.text, Lines(A), -5)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            of_another,
            r"it returns Prompt\[A\], and its parser makes B: Lines\(B\); write Lines\(A\), or -> Prompt\[B\]",
        ),
        (of_another_by_place, r"its parser makes C: JsonLines\(kind=C\); write JsonLines\(A\), or"),
        (of_another_by_way_of_a_helper, r"its parser makes B: Sentences\(B\)"),
        (of_a_shared_one, r"parse=SHARED: a parser reads one call, and this one would be shared .*parse=Lines\(A\)"),
        (of_no_tokens, "max_tokens=0: such a call may write nothing; give it 1 or more"),
        (of_fewer_tokens, "max_tokens=-5: "),
    ],
)
def test_a_prompt_that_cannot_be_meant(function: Any, says: str) -> None:
    refused(of(function), f"stage '{function.__name__}': .*{says}")


def test_a_prompt_whose_text_says_nothing_wrong() -> None:
    def local(q: Q) -> Prompt[A]:
        B = A  # noqa: N806
        return Prompt([], q.text, Lines(B), 10)

    for function in (a, local):
        of(function)()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"max_tokens": 0}, r"Prompt\(max_tokens=0\): expected 1 or more"),
        ({"max_tokens": 1.5}, r"Prompt\(max_tokens=1\.5\): "),
        ({"variable": 7}, r"Prompt\(variable=int\): expected a text"),
        ({"fixed": ["Be brief."]}, r"Prompt\(fixed=str\): expected a list of messages"),
        ({"parse": Lines}, r"Prompt\(parse=Lines\): expected a parser, such as Lines\(T\)"),
        ({"temperature": -1}, r"Prompt\(temperature=-1\): expected 0 or more"),
        ({"logprobs": -1}, r"Prompt\(logprobs=-1\): "),
        ({"turn": "system"}, r"Prompt\(turn='system'\): expected 'user' or 'assistant'"),
        ({"stop": "\n"}, r"Prompt\(stop=str\): expected a list of texts"),
    ],
)
def test_a_prompt_that_can_be_no_call(fields: dict[str, Any], says: str) -> None:
    right = {"fixed": [Message("system", "x")], "variable": "x", "parse": Lines(A), "max_tokens": 10}
    refused(lambda: Prompt(**{**right, **fields}), says)


class Pair(Record):
    left: str
    right: str


class Number(Record):
    value: int


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Lines(A, limit=0), r"Lines\(limit=0\): expected 1 or more: it would find nothing"),
        (lambda: JsonLines(A, limit=-1), r"JsonLines\(limit=-1\): "),
        (lambda: Sentences(A, max_chars=0), r"Sentences\(max_chars=0\): "),
        (lambda: Whole(A, max_chars=-1), r"Whole\(max_chars=-1\): "),
        (lambda: Sentences(A, rule="plian"), r"Sentences\(rule='plian'\): expected 'language' or 'plain'"),  # type: ignore[arg-type]
        (lambda: Lines(Pair), r"Lines\(Pair\): each item is made of one text: missing .*'right'; use JsonLines"),  # type: ignore[arg-type]
        (lambda: Sentences(Number), r"Sentences\(Number\): its first field, value, is no text; use JsonLines"),  # type: ignore[arg-type]
        (lambda: Whole(3), r"Whole\(int\): expected a record type, or a function of a text"),  # type: ignore[arg-type]
        (lambda: JsonLines("Point"), r"JsonLines\('Point'\): expected a type that JSON can carry"),  # type: ignore[arg-type]
        (lambda: JsonLines(Lost), r"JsonLines\(.*Lost.*\): expected a type that JSON can carry: name 'Nowhere'"),
    ],
)
def test_a_parser_that_would_find_nothing(make: Callable[[], Any], says: str) -> None:
    refused(make, says)
