"""Pipelines made by a program: stages from names, inputs and bodies, as a person would have written them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from alto_streams.define.pipeline import Pipeline, Prompt, Record
from tests.simulation.script import Lines

MAX_TOKENS = 100_000
Body = Callable[[Mapping[str, Any]], Any]


class Item(Record):
    """One line of text, or what a stage made of what it was given."""

    text: str


def item_type(name: str) -> type[Item]:
    """An item type of a stage's own."""
    return type(name.capitalize(), (Item,), {})


def generate(pipeline: Pipeline, name: str, inputs: Mapping[str, Any], output: type[Item], **options: Any) -> None:
    """A generate stage that asks for all that it is given, and reads one item a line."""

    def body(given: Mapping[str, Any]) -> Prompt[Any]:
        return Prompt([], asked(given), Lines(output), MAX_TOKENS)

    pipeline.generate(model="chat", **options)(_function(name, inputs, Prompt[output], body))  # type: ignore[valid-type]


def gather(pipeline: Pipeline, name: str, inputs: Mapping[str, Any], output: type[Item], body: Body) -> None:
    """A gather stage."""
    pipeline.gather(_function(name, inputs, output, lambda given: output(body(given))))


def mapped(pipeline: Pipeline, name: str, inputs: Mapping[str, Any], output: type[Item], body: Body) -> None:
    """A map stage that returns several items."""
    plain = _function(name, inputs, list[output], body)  # type: ignore[valid-type]

    async def function(**given: Any) -> Any:
        return plain(**given)

    function.__name__, function.__annotations__ = name, plain.__annotations__
    function.__signature__ = inspect.signature(plain)  # type: ignore[attr-defined]
    function.__wrapped__ = plain  # type: ignore[attr-defined]
    pipeline.map()(function)


def asked(given: Mapping[str, Any]) -> str:
    """What a stage was given, as a text: everything that could be wrong about it can be seen there."""
    return ";".join(f"{name}={told(value)}" for name, value in sorted(given.items()))


def told(value: Any) -> str:
    """One input as a text."""
    if isinstance(value, Item):
        return value.text
    items = [f"{path}:{item.text}" for path, item in value.items()]
    return "[" + ",".join([*items, *(f"{path}!" for path in sorted(value.failures))]) + "]"


def _function(name: str, inputs: Mapping[str, Any], output: Any, body: Body) -> Callable[..., Any]:
    def function(**given: Any) -> Any:
        return body(given)

    function.__name__, function.__annotations__ = name, {**inputs, "return": output}
    parameters = [inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY) for each in inputs]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function
