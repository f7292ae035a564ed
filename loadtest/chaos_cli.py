"""`python -m loadtest chaos` and `rebalances`: the commands around the run."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from alto_streams.errors import Retryable
from alto_streams.local.signals import Interrupted, ends_on_signals
from alto_streams.local.supervisor import PartFailed
from loadtest import chaos as run
from loadtest.chaos_system import Broken
from loadtest.kafka import Unavailable
from loadtest.machine import ROOT

RECORDING = ROOT.parent / "shared" / "data" / "knowledge_qa.jsonl"
LONG = ("gaps", "machine", "settings")  # for the file only

Seed = Annotated[int, typer.Option(help="Of the faults and of the load.")]
Rate = Annotated[float, typer.Option(min=0.1, max=20, help="Requests a second.")]
Recording = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Fact checks with their labels, as JSONL.")]
Folder = Annotated[Path | None, typer.Option(help="Keep logs and data here; without it they go at the end.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as JSON.")]


def register(cli: typer.Typer) -> None:
    """Adds the commands."""
    cli.command()(chaos)
    cli.command()(rebalances)


def chaos(
    quick: Annotated[bool, typer.Option("--quick", help="A dozen faults within two minutes.")] = False,
    kills: Annotated[int | None, typer.Option(min=0, help="Rounds of an LM worker and another part.")] = None,
    stops: Annotated[int | None, typer.Option(min=0, help="Parts paused past their session and woken.")] = None,
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
    with _place(folder) as place:
        figures = finished("chaos", run.measure(options, recording, place, say))
    tell(figures, json_file)
    raise typer.Exit(0 if figures["clean"] else 1)


def rebalances(
    leaves: Annotated[int, typer.Option(min=1, help="Workers that leave their group in order, and come back.")] = 100,
    rate: Rate = 0.5,
    seed: Seed = 1,
    recording: Recording = RECORDING,
    folder: Folder = None,
    json_file: Json = None,
) -> None:
    """Workers leave and join their groups under load: whether `results` has every event once, and in order."""
    options = run.Options(replace(run.REBALANCES, leaves=leaves), rate=rate, least=0, seed=seed)
    with _place(folder) as place:
        figures = finished("rebalances", run.measure(options, recording, place, say))
    tell(figures, json_file)
    raise typer.Exit(0 if figures["clean"] and figures["in_order"] else 1)


def say(text: str) -> None:
    """Progress, apart from the figures."""
    typer.echo(text, err=True)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="alto-chaos-", ignore_cleanup_errors=True) as name:
            yield Path(name)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.absolute()


def finished(name: str, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The figures; or the end of the command, with what went wrong. Ctrl-C stops everything first."""

    async def until_interrupted() -> dict[str, Any]:
        figures: dict[str, Any] = {}
        async with ends_on_signals():
            figures = await work
        return figures  # noqa: RET504  the context swallows nothing, but its type does not say so

    try:
        return asyncio.run(until_interrupted())
    except* (Unavailable, PartFailed, Broken, Retryable, Interrupted) as failed:
        for error in failed.exceptions:
            typer.echo(f"{name}: {error}", err=True)
    raise typer.Exit(1)


def tell(figures: dict[str, Any], json_file: Path | None) -> None:
    """Prints the figures; all of them into the file."""
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2, default=str) + "\n")
    typer.echo(json.dumps({key: value for key, value in figures.items() if key not in LONG}, indent=2, default=str))
