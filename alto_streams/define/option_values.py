"""The values of a stage's options: one that means nothing is refused, rather than taken for the usual one. Pure."""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Callable, Collection
from typing import Any

from alto_streams.define.decorating import nearest
from alto_streams.define.stages import Broken, Need, Show
from alto_streams.errors import PipelineError

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
MOST_NAME = 80  # characters: a topic's name holds a pipeline's and a stage's, and has at most 249


def check_name(where: str, name: object) -> None:
    """Of a pipeline or a stage: it becomes part of topic names. Raises `PipelineError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PipelineError(f"{where}: its name becomes part of topic names; use lower-case letters, digits and _")
    if len(name) > MOST_NAME:
        raise PipelineError(f"{where}: its name becomes part of topic names; use at most {MOST_NAME} characters")


def check_generate(
    where: str, *, model: object, show: object, broken: object, within_s: object, truncate: object, needs: object
) -> None:
    """The options of a generate stage. Raises `PipelineError`."""
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise PipelineError(
            f"{where}: model={model!r}: expected the name of a model of ALTO_MODELS, such as model='chat' "
            "(letters, digits, '.', '_' and '-')"
        )
    _one_of(where, "show", show, typing.get_args(Show))
    _one_of(where, "broken", broken, typing.get_args(Broken))
    if within_s is not None:
        _seconds(where, "within_s", within_s, "or leave it out for no bound")
    if truncate is not None and not callable(truncate) and truncate not in ("head", "tail"):
        raise PipelineError(f"{where}: truncate={truncate!r}: expected 'head', 'tail' or a function")
    if isinstance(needs, str) or not isinstance(needs, Collection):
        raise PipelineError(f"{where}: needs={needs!r}: expected a list, such as needs=['grammar']")
    for need in needs:
        _one_of(where, "needs", need, typing.get_args(Need))


def check_map(where: str, *, show: object, timeout_s: object) -> None:
    """The options of a map stage. Raises `PipelineError`."""
    if show == "text":
        raise PipelineError(f"{where}: show='text': a map writes no text; expected 'items' or 'nothing'")
    _one_of(where, "show", show, ("items", "nothing"))
    _seconds(where, "timeout_s", timeout_s, "such as timeout_s=30")


def check_enough(where: str, enough: Callable[..., Any] | None, function: Callable[..., Any]) -> None:
    """The function that may end a request early takes what its stage takes. Raises `PipelineError`."""
    if enough is None:
        return
    if not callable(enough):
        raise PipelineError(f"{where}: enough={enough!r}: expected a function that returns a bool")
    name = getattr(enough, "__name__", "enough")
    if inspect.iscoroutinefunction(enough) or inspect.isgeneratorfunction(enough):
        raise PipelineError(f"{where}: enough={name}: it is asked at each item, so it must be a plain def")
    given = list(inspect.signature(function).parameters)
    try:
        inspect.signature(enough).bind(**dict.fromkeys(given))
    except TypeError as error:
        raise PipelineError(
            f"{where}: enough={name}: it is called with the parameters of its stage, ({', '.join(given)}): {error}"
        ) from None


def _one_of(where: str, option: str, value: object, known: tuple[str, ...]) -> None:
    if value in known:
        return
    near = nearest(value, known) if isinstance(value, str) else None
    meant = f"; did you mean {near!r}?" if near else ""
    raise PipelineError(f"{where}: {option}={value!r}: expected {_either(known)}{meant}")


def _seconds(where: str, option: str, value: object, remedy: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(float(typing.cast("float", value))) or typing.cast("float", value) <= 0:
        raise PipelineError(f"{where}: {option}={value!r}: expected seconds above 0, {remedy}")


def _either(known: tuple[str, ...]) -> str:
    *most, last = [repr(each) for each in known]
    return f"{', '.join(most)} or {last}"
