"""Options that the configured pipelines bring to a command.

A command that takes them is registered as `bringing(command, Flag)`: what pipelines bring becomes part of its
signature, and what was given reaches it as `brought`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from alto_streams.define.options import Flag, Folder
from alto_streams.errors import ConfigError

APP = "--app"


class Owned(NamedTuple):
    """An option, and the pipelines that have it."""

    option: Flag | Folder
    pipelines: tuple[str, ...]


def owned_options(arguments: Sequence[str]) -> list[Owned]:
    """What the pipelines bring that `--app` names in a command's arguments, else those in ALTO_PIPELINES.

    Raises:
        ConfigError, PipelineError: as `load_pipelines`; or two pipelines mean different things by one option.
    """
    from alto_streams.define.loading import load_pipelines
    from alto_streams.settings import settings

    found: dict[str, Owned] = {}
    apps = [after for each, after in pairwise([*arguments, ""]) if each == APP]
    apps += [each.removeprefix(f"{APP}=") for each in arguments if each.startswith(f"{APP}=")]
    for pipeline in load_pipelines(apps or settings().pipelines).values():
        for each in pipeline.options:
            before = found.get(each.option)
            if before is not None and before.option != each:
                raise ConfigError(
                    f"{each.option}: {before.pipelines[0]} and {pipeline.name} mean different things by it"
                )
            found[each.option] = Owned(each, (*(before.pipelines if before else ()), pipeline.name))
    return list(found.values())


def bringing(command: Callable[..., None], owned: Iterable[Owned], *kinds: type) -> Callable[..., None]:
    """The command with a parameter for each option of these kinds; it gets those that were given as `brought`."""
    taken = {_parameter(each.option): each for each in owned if isinstance(each.option, kinds)}

    @wraps(command)
    def taking(**given: Any) -> None:
        brought = {name: given.pop(name) for name in taken}
        command(**given, brought=Brought([(taken[name], value) for name, value in brought.items() if value]))

    own = inspect.signature(command, eval_str=True)
    kept = [each for name, each in own.parameters.items() if name != "brought"]
    more = [_of(name, each.option) for name, each in taken.items()]
    taking.__signature__ = own.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]
    return taking


class Brought:
    """What was given of the options that pipelines bring."""

    def __init__(self, given: Sequence[tuple[Owned, Any]] = ()) -> None:
        self._given = given

    def __bool__(self) -> bool:
        return bool(self._given)

    def fields(self, pipeline: str) -> dict[str, Any]:
        """What the flags add to the input of a request of this pipeline.

        Raises:
            ConfigError: the pipeline has not got one of them.
        """
        found: dict[str, Any] = {}
        for owned, _ in self._given:
            if isinstance(owned.option, Flag):
                if pipeline not in owned.pipelines:
                    only = ", ".join(owned.pipelines)
                    raise ConfigError(f"{owned.option.option}: only the pipeline {only} can do that, not {pipeline}")
                found |= owned.option.fields
        return found

    def place(self) -> bool:
        """Puts the folders into the environment, for the workers that are started from here; whether there are any.

        Raises:
            ConfigError: one is no folder.
        """
        folders = [(owned.option, Path(path)) for owned, path in self._given if isinstance(owned.option, Folder)]
        for option, path in folders:
            if not path.is_dir():
                raise ConfigError(f"{option.option} {path}: no such folder")
            os.environ[option.variable] = str(path.resolve())
        return bool(folders)


def _parameter(option: Flag | Folder) -> str:
    return "brought_" + option.option.lstrip("-").replace("-", "_")


def _of(name: str, option: Flag | Folder) -> inspect.Parameter:
    kind: Any
    if isinstance(option, Flag):
        kind, default = Annotated[bool, typer.Option(option.option, help=option.help)], False
    else:
        kind, default = Annotated[Path | None, typer.Option(option.option, metavar="DIR", help=option.help)], None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
