"""What the signature of a stage's function says: its inputs, its resources, its items. Pure."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from alto_streams.define.option_values import check_name
from alto_streams.define.prompt_source import refuse_wrong_prompts
from alto_streams.define.record_types import check_record
from alto_streams.define.stages import Gather, Prompt, Record
from alto_streams.define.topology import Input, Kind
from alto_streams.errors import PipelineError

_RETURNS = {Kind.GENERATE: "Prompt[T]", Kind.MAP: "T or list[T]", Kind.GATHER: "T"}


class Signature(NamedTuple):
    """Of one stage. `many`: a map that returns several items. `resources`: parameter -> type."""

    inputs: list[Input]
    resources: dict[str, type]
    output: type[Record]
    many: bool


def signature_of(
    where: str,
    kind: Kind,
    function: Callable[..., Any],
    producers: Mapping[Any, str],
    resources: Collection[type],
) -> Signature:
    """What a function says of its stage. `producers`: by record type, the stage that makes it.

    Raises:
        PipelineError: it says something that no stage of this kind can be; with the remedy.
    """
    _check_function(where, kind, function)
    check_name(where, function.__name__)
    try:
        hints = typing.get_type_hints(function)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise PipelineError(
            f"{where}: its types cannot be read: {error}; import them, or define them at the top level of the module, "
            "above the stage"
        ) from error
    output, many = _output(where, kind, hints.get("return"))
    if output in producers:
        raise PipelineError(
            f"{where}: {output.__name__} is produced by {producers[output]!r} already; give each stage an item type "
            "of its own"
        )
    check_record(where, output)
    inputs, taken = _inputs(where, kind, function, hints, producers, resources)
    if kind is Kind.GENERATE:
        refuse_wrong_prompts(where, function, output)
    return Signature(inputs, taken, output, many)


def made_by(where: str, factory: Callable[..., Any]) -> type:
    """The type of the resource that a factory makes.

    Raises:
        PipelineError: it does not say so, or it cannot be called without arguments.
    """
    where = f"{where}, resource {getattr(factory, '__name__', type(factory).__name__)!r}"
    if not inspect.isroutine(factory):
        raise PipelineError(f"{where}: it is no function; decorate a def that returns the resource")
    if inspect.iscoroutinefunction(factory) or inspect.isgeneratorfunction(factory):
        raise PipelineError(f"{where}: it is made once, before the worker runs: make it a plain def that returns it")
    try:
        made = typing.get_type_hints(factory).get("return")
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise PipelineError(f"{where}: its types cannot be read: {error}") from error
    if not isinstance(made, type) or made is type(None):
        raise PipelineError(f"{where}: stages take it by its type; annotate what it returns, such as -> Search")
    needed = [
        each.name
        for each in inspect.signature(factory).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if needed:
        raise PipelineError(f"{where}: it is called without arguments, and needs {', '.join(needed)}")
    return made


def _check_function(where: str, kind: Kind, function: Callable[..., Any]) -> None:
    if not inspect.isroutine(function):
        raise PipelineError(f"{where}: it is no function; decorate a def")
    written = "async def" if kind is Kind.MAP else "def"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise PipelineError(f"{where}: it yields; a {kind} is a plain {written} that returns {_RETURNS[kind]}")
    if kind is Kind.MAP and not inspect.iscoroutinefunction(function):
        raise PipelineError(f"{where}: a map must be an async def")
    if kind is not Kind.MAP and inspect.iscoroutinefunction(function):
        raise PipelineError(
            f"{where}: a {kind} must be a plain def: it is run again after a crash; do slow I/O in a map before it"
        )


def _inputs(
    where: str,
    kind: Kind,
    function: Callable[..., Any],
    hints: dict[str, Any],
    producers: Mapping[Any, str],
    resources: Collection[type],
) -> tuple[list[Input], dict[str, type]]:
    inputs: list[Input] = []
    taken: dict[str, type] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        _check_parameter(where, parameter)
        hint = hints.get(name)
        gathered = typing.get_origin(hint) is Gather
        wanted = typing.get_args(hint)[0] if gathered else hint
        if _is_in(wanted, producers):
            inputs.append(Input(name, producers[wanted], gathered))
        elif _is_in(wanted, resources) and kind is Kind.MAP:
            taken[name] = typing.cast(type, wanted)
        else:
            known = ", ".join(sorted(t.__name__ for t in (*producers, *resources)))
            raise PipelineError(
                f"{where}: parameter {name!r} has type {_named(wanted)}, which no earlier stage produces "
                f"(known: {known}; resources are for map stages){_meant(hint, producers)}"
            )
    return inputs, taken


def _check_parameter(where: str, parameter: inspect.Parameter) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise PipelineError(f"{where}: parameter {parameter}: name each input, with its type")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise PipelineError(f"{where}: parameter {parameter.name!r}: inputs are given by name; take the / away")
    if parameter.default is not parameter.empty:
        raise PipelineError(
            f"{where}: parameter {parameter.name!r} has a default, which would never be used: each input comes from a "
            "stage; take it away"
        )


def _meant(hint: Any, producers: Mapping[Any, str]) -> str:
    """What may have been meant by a type that is no input."""
    if hint is Gather:
        return "; say of what: Gather[T]"
    for inner in typing.get_args(hint):
        if typing.get_origin(hint) is not Gather and _is_in(inner, producers):
            name = inner.__name__
            return f"; write {name} for each of them, or Gather[{name}] for all of them"
    return ""


def _output(where: str, kind: Kind, hint: Any) -> tuple[type[Record], bool]:
    origin, wanted = typing.get_origin(hint), hint
    many = kind is Kind.MAP and origin is list
    if many or (kind is Kind.GENERATE and origin is Prompt):
        wanted = typing.get_args(hint)[0]
    if isinstance(wanted, type) and issubclass(wanted, Record) and wanted is not Record:
        if kind is not Kind.GENERATE or origin is Prompt:
            return wanted, many
        raise PipelineError(
            f"{where}: a generate returns Prompt[T] with T a Record, not {_named(hint)}; write -> "
            f"Prompt[{wanted.__name__}]"
        )
    remedy = ""
    if kind is not Kind.GENERATE and (origin is Prompt or hint is Prompt):
        remedy = "; a stage that asks a model is a generate"
    elif kind is Kind.GATHER and origin is list:
        remedy = "; return one record that holds the list"
    raise PipelineError(f"{where}: a {kind} returns {_RETURNS[kind]} with T a Record, not {_named(hint)}{remedy}")


def _is_in(wanted: Any, known: Collection[Any]) -> bool:
    try:
        return wanted in known
    except TypeError:  # a hint that is not hashable is none of them
        return False


def _named(hint: Any) -> str:
    if hint is None or hint is type(None):
        return "nothing (annotate it)"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
