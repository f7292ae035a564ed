"""Functions that cannot be a stage of their kind, a resource or an `enough`, are refused with the remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from alto_streams.define.pipeline import Gather, Pipeline, Prompt
from tests.unit.definitions import R, first, of, r, refused
from tests.unit.shapes import A, B, Q


class Handle:
    """A resource."""


def yields(q: Q) -> Iterator[A]:
    yield A("")


def asks(q: Q) -> A:
    return A("")


def bare(q: Q) -> Prompt:  # type: ignore[type-arg]
    raise NotImplementedError


def unsaid(q: Q):  # type: ignore[no-untyped-def]
    raise NotImplementedError


async def waits(q: Q) -> Prompt[A]:
    raise NotImplementedError


def many(*q: Q) -> Prompt[A]:
    raise NotImplementedError


def more(q: Q, **rest: Q) -> Prompt[A]:
    raise NotImplementedError


def positional(q: Q, /) -> Prompt[A]:
    raise NotImplementedError


def usual(q: Q = Q("x")) -> Prompt[A]:  # noqa: B008
    raise NotImplementedError


def of_what(q: Q, a: Gather) -> Prompt[B]:  # type: ignore[type-arg]
    raise NotImplementedError


class Asking:
    __name__ = "asking"

    def __call__(self, q: Q) -> Prompt[A]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (asks, r"stage 'asks': a generate returns Prompt\[T\] with T a Record, not A; write -> Prompt\[A\]"),
        (bare, r"a generate returns Prompt\[T\] with T a Record, not Prompt"),
        (unsaid, r"not nothing \(annotate it\)"),
        (yields, r"stage 'yields': it yields; a generate is a plain def that returns Prompt\[T\]"),
        (waits, "a generate must be a plain def: it is run again after a crash; do slow I/O in a map"),
        (many, r"parameter \*q: 'Q': name each input, with its type"),
        (more, r"parameter \*\*rest: 'Q': name each input"),
        (positional, "parameter 'q': inputs are given by name; take the / away"),
        (usual, "parameter 'q' has a default, which would never be used: each input comes from a stage"),
        (of_what, r"parameter 'a' has type Gather, which no earlier stage produces .*; say of what: Gather\[T\]"),
        (Asking(), "stage 'asking': it is no function; decorate a def"),
        (Handle, "stage 'Handle': it is no function"),
    ],
)
def test_a_generate_function_that_cannot_be_one(function: Any, says: str) -> None:
    refused(of(function), says)


async def streams(a: A) -> AsyncIterator[B]:
    yield B("")


async def lists(a: list[A]) -> B:
    raise NotImplementedError


async def maybe(a: A | None) -> B:
    raise NotImplementedError


async def prompts(a: A) -> Prompt[B]:
    raise NotImplementedError


def listed(a: Gather[A]) -> list[B]:
    raise NotImplementedError


async def awaited(a: Gather[A]) -> R:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("kind", "function", "says"),
    [
        ("map", streams, r"it yields; a map is a plain async def that returns T or list\[T\]"),
        ("map", lists, r"has type list\[.*A\], which no .*; write A for each of them, or Gather\[A\] for all of them"),
        ("map", maybe, "write A for each of them"),
        ("map", prompts, r"a map returns T or list\[T\] .*; a stage that asks a model is a generate"),
        ("gather", listed, r"a gather returns T .*; return one record that holds the list"),
        ("gather", awaited, "a gather must be a plain def"),
    ],
)
def test_a_function_that_cannot_be_one_of_its_kind(kind: str, function: Any, says: str) -> None:
    refused(lambda: getattr(first(), kind)(function), says)


async def later(a: Gather[A]) -> bool:
    return True


@pytest.mark.parametrize(
    ("enough", "says"),
    [
        (3, "stage 'r': enough=3: expected a function that returns a bool"),
        (later, "enough=later: it is asked at each item, so it must be a plain def"),
        (lambda: True, r"it is called with the parameters of its stage, \(a\): got an unexpected keyword argument 'a'"),
        (lambda b: True, r"with the parameters of its stage, \(a\): missing a required argument: 'b'"),
        (lambda a, b: True, "missing a required argument: 'b'"),
    ],
)
def test_an_enough_that_can_never_be_asked(enough: Any, says: str) -> None:
    refused(lambda: first().gather(enough=enough)(r), says)


def of_two(q: Q, b: B) -> Handle:
    return Handle()


def of_nothing():  # type: ignore[no-untyped-def]
    return Handle()


async def in_time() -> Handle:
    return Handle()


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (of_nothing, "resource 'of_nothing': stages take it by its type; annotate what it returns"),
        (of_two, "resource 'of_two': it is called without arguments, and needs q, b"),
        (in_time, "resource 'in_time': it is made once, before the worker runs: make it a plain def"),
        (Handle, "it is no function; decorate a def"),
    ],
)
def test_a_resource_that_cannot_be_made(factory: Any, says: str) -> None:
    refused(lambda: Pipeline("p", request=Q).resource(factory), says)


@pytest.mark.parametrize("example", [Q, {"text": "x"}, Handle()])
def test_an_example_that_is_no_record(example: Any) -> None:
    refused(lambda: Pipeline("p", request=Q).examples(example), "examples: .*: expected records")
