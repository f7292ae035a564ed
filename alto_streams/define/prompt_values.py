"""The values of a prompt and of its parser: what can be no call is refused where it is made. Pure.

An error names the field and what is wrong with it, and never a text, which may be what a user wrote.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from alto_streams.errors import PipelineError
from alto_streams.wire.records import Message

if TYPE_CHECKING:
    from alto_streams.define.stages import Prompt


def check_prompt(prompt: Prompt[Any]) -> None:
    """Raises `PipelineError` with the field, what is wrong, and what would be right."""
    if not _is_whole(prompt.max_tokens, 1):
        raise _wrong("max_tokens", prompt.max_tokens, "expected 1 or more: such a call may write nothing")
    if not isinstance(prompt.variable, str):
        raise _wrong("variable", type(prompt.variable), "expected a text")
    for each in prompt.fixed:
        if not isinstance(each, Message):
            raise _wrong("fixed", type(each), 'expected a list of messages, such as [Message("system", "Be brief.")]')
    parse = prompt.parse
    if isinstance(parse, type) or not (hasattr(parse, "feed") and hasattr(parse, "close") and hasattr(parse, "coarse")):
        raise _wrong("parse", parse if isinstance(parse, type) else type(parse), "expected a parser, such as Lines(T)")
    temperature = prompt.temperature
    if temperature is not None and not (_is_number(temperature) and 0 <= temperature < math.inf):
        raise _wrong("temperature", temperature, "expected 0 or more")
    if not _is_whole(prompt.logprobs, 0):
        raise _wrong("logprobs", prompt.logprobs, "expected 0 or more")
    if prompt.turn not in ("user", "assistant"):
        raise _wrong("turn", prompt.turn, "expected 'user' or 'assistant'")
    if isinstance(prompt.stop, str):
        raise _wrong("stop", str, "expected a list of texts")


def check_parser(parser: str, max_chars: int, limit: int = 1) -> None:
    """The bounds of a parser. Raises `PipelineError`."""
    for field, value in (("limit", limit), ("max_chars", max_chars)):
        if not _is_whole(value, 1):
            raise PipelineError(f"{parser}({field}={value!r}): expected 1 or more: it would find nothing")


def check_text_kind(parser: str, kind: Callable[[str], Any]) -> None:
    """A parser of texts makes each item of one text. Raises `PipelineError`: `kind` cannot be made of one."""
    try:
        reason = _of_one_text(kind)
    except TypeError:  # it is not hashable, so it is no class
        reason = None
    if reason is not None:
        raise PipelineError(f"{parser}({getattr(kind, '__name__', type(kind).__name__)}): {reason}")


@lru_cache(maxsize=256)
def _of_one_text(kind: Callable[[str], Any]) -> str | None:
    """Why an item cannot be made of one text; None if it can."""
    if not callable(kind):
        return "expected a record type, or a function of a text"
    try:
        inspect.signature(kind).bind("")
    except ValueError:
        return None  # a type such as `str`, which does not say
    except TypeError as error:
        return f"each item is made of one text: {error}; use JsonLines for records of several fields"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        first = msgspec.structs.fields(kind)[0]
        while typing.get_origin(first.type) is typing.Annotated:
            first = msgspec.structs.replace(first, type=typing.get_args(first.type)[0])
        if not {str, Any} & {first.type, *typing.get_args(first.type)}:
            return f"its first field, {first.name}, is no text; use JsonLines"
    return None


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(field: str, given: object, expected: str) -> PipelineError:
    told = given.__name__ if isinstance(given, type) else repr(given)
    return PipelineError(f"Prompt({field}={told}): {expected}")
