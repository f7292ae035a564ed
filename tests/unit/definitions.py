"""A pipeline of one stage, and what is said of definitions that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.errors import PipelineError
from tests.unit.shapes import A, B, Q


class R(Record):
    count: int


def refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(PipelineError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def of(function: Any, **options: Any) -> Callable[[], Any]:
    return lambda: Pipeline("p", request=Q).generate(**{"model": "m", **options})(function)


def first() -> Pipeline:
    pipeline = Pipeline("p", request=Q)
    pipeline.generate(model="m")(a)
    return pipeline


def a(q: Q) -> Prompt[A]:
    return Prompt([], q.text, Lines(A), 10)


async def found(a: A) -> list[B]:
    return []


def r(a: Gather[A]) -> R:
    return R(len(a))
