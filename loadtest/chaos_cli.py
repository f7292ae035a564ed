"""`python -m loadtest chaos` and `rebalances`: the commands around the run."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from alto_streams.errors import Retryable
from alto_streams.local.signals import Interrupted, ends_on_signals
from loadtest import chaos as run
from loadtest.chaos_system import Broken
from loadtest.console import RECORDING, Json, Recording, failing, report, say, write
from loadtest.evidence import FIGURES

LONG = ("gaps", "machine", "settings")  # for the file only

Seed = Annotated[int, typer.Option(help="Of the faults and of the load.")]
Rate = Annotated[float, typer.Option(min=0.1, max=20, help="Requests a second.")]
Folder = Annotated[
    Path | None, typer.Option(help="Keep logs and data here; without it they go at the end of a clean run.")
]


def register(cli: typer.Typer) -> None:
    """Adds the commands."""
    cli.command()(chaos)
    cli.command()(rebalances)


def chaos(
    quick: Annotated[bool, typer.Option("--quick", help="A dozen faults within two minutes.")] = False,
    kills: Annotated[int | None, typer.Option(min=0, help="Rounds that kill an LM worker and another part.")] = None,
    stops: Annotated[int | None, typer.Option(min=0, help="Parts that are paused until their session is over.")] = None,
    rate: Rate = 0.5,
    seed: Seed = 1,
    recording: Recording = RECORDING,
    folder: Folder = None,
    json_file: Json = None,
) -> None:
    """Kills and pauses parts of the system under load, restarts the broker, empties Redis: what clients lose by it."""
    amount = run.QUICK if quick else run.FULL
    given = {name: value for name, value in (("kills", kills), ("stops", stops)) if value is not None}
    least = 0 if quick else run.LEAST_REQUESTS
    options = run.Options(replace(amount, **given), rate=rate, least=least, seed=seed)
    figures = _run("chaos", options, recording, folder)
    report(figures, json_file, too_long=LONG)
    raise typer.Exit(0 if figures["clean"] else 1)


def rebalances(
    leaves: Annotated[int, typer.Option(min=1, help="How often a worker leaves its group and comes back.")] = 100,
    rate: Rate = 0.5,
    seed: Seed = 1,
    recording: Recording = RECORDING,
    folder: Folder = None,
    json_file: Json = None,
) -> None:
    """Workers leave and join their groups under load: whether `results` has every event once, and in order."""
    options = run.Options(replace(run.REBALANCES, leaves=leaves), rate=rate, least=0, seed=seed)
    figures = _run("rebalances", options, recording, folder)
    report(figures, json_file, too_long=LONG)
    raise typer.Exit(0 if figures["clean"] and figures["in_order"] else 1)


def _run(name: str, options: run.Options, recording: Path, folder: Path | None) -> dict[str, Any]:
    """The figures of a run. What a run that is not clean leaves behind is kept, and named: `kept` among the figures."""
    with _place(name, folder) as place:
        figures = _finished(name, run.measure(options, recording, place.folder, say))
        if figures["clean"]:
            place.is_wanted = False
        else:
            figures["kept"] = str(place.folder)
            write(figures, place.folder / FIGURES)
    return figures


@dataclass(slots=True)
class _Place:
    folder: Path
    is_wanted: bool = True


@contextmanager
def _place(name: str, given: Path | None) -> Iterator[_Place]:
    """A folder for logs and data, which goes at the end unless it was given, or the run was not clean."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield _Place(given.absolute())
        return
    place = _Place(Path(tempfile.mkdtemp(prefix=f"alto-{name}-")))
    try:
        yield place
    finally:
        if place.is_wanted:
            say(f"{name}: logs, topics and what clients heard are kept in {place.folder}")
        else:
            shutil.rmtree(place.folder, ignore_errors=True)


def _finished(name: str, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The figures; or the end of the command, with what went wrong. Ctrl-C stops everything first."""

    async def until_interrupted() -> dict[str, Any]:
        figures: dict[str, Any] = {}
        async with ends_on_signals():
            figures = await work
        return figures  # noqa: RET504  the context swallows nothing, but its type does not say so

    with failing(name, Broken, Retryable, Interrupted):
        return asyncio.run(until_interrupted())
