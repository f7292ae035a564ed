"""Decorators with options, as an author may get them wrong: without parentheses, a keyword misspelt or left out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from alto_streams.errors import PipelineError

F = TypeVar("F", bound=Callable[..., Any])


def nearest(given: str, known: Sequence[str]) -> str | None:
    """The known word that was probably meant."""
    from difflib import get_close_matches  # it takes a while, and few make mistakes

    return next(iter(get_close_matches(given, known, 1)), None)


def with_options(example: str) -> Callable[[F], F]:
    """Of a method of `Pipeline`: a wrong use of it is a `PipelineError` that shows the right one, `example`."""

    def wrap(method: F) -> F:
        signature = inspect.signature(method)
        known = [each.name for each in signature.parameters.values() if each.kind is each.KEYWORD_ONLY]

        @wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise PipelineError(_refusal(args, kwargs, known, str(error), example)) from None
            return method(*args, **kwargs)

        return cast(F, checked)

    return wrap


def _refusal(given: tuple[Any, ...], named: dict[str, Any], known: list[str], error: str, example: str) -> str:
    where = f"pipeline {given[0].name!r}"
    function = given[1] if len(given) > 1 else None
    if unknown := [name for name in named if name not in known]:
        near = nearest(unknown[0], known)
        meant = f"did you mean {near}=?" if near else f"known: {', '.join(known)}"
        return f"{where}: {example.partition('(')[0]} has no option {unknown[0]}=; {meant}"
    if function is not None and callable(function):
        name = getattr(function, "__name__", type(function).__name__)
        return f"{where}, stage {name!r}: it is defined without parentheses; write {example}"
    return f"{where}: {error}; write {example}"
