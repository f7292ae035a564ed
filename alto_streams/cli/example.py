"""An input that fits a pipeline's request type: what `up` shows with `ask`, and what a refusal can point at."""

from __future__ import annotations

import enum
import json
import shlex
import typing
from typing import Any

import msgspec

from alto_streams.define.forms import form_of
from alto_streams.define.pipeline import Pipeline

DEEPEST = 4


def ask_line(pipeline: Pipeline, gateway: str | None = None, *, is_only: bool = True) -> str:
    """The command that asks this pipeline something. `gateway`: its address, where it is not the usual one.

    `is_only`: no other pipeline is served there, so that this one need not be named.
    """
    given, text = example_input(pipeline), None
    field = form_of(pipeline.name, pipeline.request).text_field
    if field is not None and list(given) == [field] and not given[field].startswith(("{", "-")):
        text = given[field]
    text = text or json.dumps(given, ensure_ascii=False)
    options = [] if is_only else ["--pipeline", pipeline.name]
    options += ["--gateway", gateway] if gateway is not None else []
    return " ".join(["alto-streams", "ask", *options, _quoted(str(text))])


def example_input(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline's own example of a request, or one made of the fields that a request must have."""
    own = pipeline.example_request()
    if own is not None:
        return {name: value for name, value in msgspec.to_builtins(own).items() if name in _required(pipeline.request)}
    return _record(pipeline.request, 0)


def _required(kind: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind) if field.required}


def _record(kind: Any, depth: int) -> dict[str, Any]:
    fields = msgspec.structs.fields(kind)
    return {field.encode_name: _value(field.type, field.name, depth) for field in fields if field.required}


def _value(hint: Any, name: str, depth: int) -> Any:
    """A value of this type; null where it is one that cannot be made up."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _value(arguments[0], name, depth)
    if origin is typing.Literal:
        return arguments[0]
    if arguments and type(None) in arguments:
        return None
    if origin is tuple and Ellipsis not in arguments:
        return [_value(each, name, depth + 1) for each in arguments]
    if origin in (list, tuple, set, frozenset):
        return [_value(arguments[0], name, depth + 1)] if arguments else []
    if origin is dict or hint is dict:
        return {}
    if arguments:
        return _value(arguments[0], name, depth)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return next(iter(hint)).value
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _record(hint, depth + 1) if depth < DEEPEST else None
    return {str: f"a {name.replace('_', ' ')}", int: 1, float: 1.0, bool: True, list: []}.get(hint)


def _quoted(text: str) -> str:
    return f'"{text}"' if not set(text) & set('"$`\\!') else shlex.quote(text)
