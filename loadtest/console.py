"""What the commands have in common: their options, progress, figures, and a line for what cannot be measured."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alto_streams.errors import PartFailed
from loadtest.bench import Tick
from loadtest.kafka import Unavailable
from loadtest.machine import ROOT

RECORDING = ROOT / "loadtest" / "data" / "fact_checks.jsonl"
RECORDED = "Fact checks with their labels, as JSONL (see docs/replay.md); by default the project's own recording."

Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as JSON.")]
Recording = Annotated[Path, typer.Option(exists=True, dir_okay=False, show_default=False, help=RECORDED)]


@contextmanager
def failing(command: str, *kinds: type[Exception]) -> Iterator[None]:
    """What cannot be measured is one line that says why, and exit code 1, also where tasks have raised it in a group.

    A part that fails and a missing broker always count; `kinds`: what else does. Anything more is a bug, and raised.
    """
    counted: tuple[type[Exception], ...] = (PartFailed, Unavailable, *kinds)
    failures: list[BaseException] = []
    try:
        yield
    except* counted as failed:
        failures = list(_leaves(failed))
    for line in dict.fromkeys(f"{command}: {failure}" for failure in failures):
        say(line)
    if failures:
        raise typer.Exit(1)


@contextmanager
def progress(command: str, steps: int) -> Iterator[Tick]:
    """A bar of so many steps, which each call moves on by one and labels with what begins."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(command, total=steps)
        yield lambda what: bar.update(task, advance=1, description=f"{command}: {what}")


def say(text: str) -> None:
    """Progress and failures, apart from the figures."""
    typer.echo(text, err=True)


def write(figures: dict[str, Any], file: Path | None) -> None:
    """Put all figures into the file, if there is one."""
    if file is not None:
        file.write_text(_as_text(figures) + "\n")


def report(figures: dict[str, Any], file: Path | None, too_long: Collection[str] = ()) -> None:
    """Print the figures, but for those that are `too_long`, and put all of them into the file."""
    write(figures, file)
    typer.echo(_as_text({name: each for name, each in figures.items() if name not in too_long}))


def _as_text(figures: dict[str, Any]) -> str:
    return json.dumps(figures, indent=2, default=str)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
