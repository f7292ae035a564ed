"""`python -m loadtest chaos` and `rebalances`: the commands around the run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from alto_streams.errors import Retryable
from alto_streams.local.signals import Interrupted, ends_on_signals
from loadtest import chaos as run
from loadtest.chaos_system import Broken
from loadtest.console import RECORDING, Json, Recording, failing, report, say

LONG = ("gaps", "machine", "settings")  # for the file only

Seed = Annotated[int, typer.Option(help="Of the faults and of the load.")]
Rate = Annotated[float, typer.Option(min=0.1, max=20, help="Requests a second.")]
Folder = Annotated[Path | None, typer.Option(help="Keep logs and data here; without it they go at the end.")]


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
    with _place(folder) as place:
        figures = _finished("chaos", run.measure(options, recording, place, say))
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
    with _place(folder) as place:
        figures = _finished("rebalances", run.measure(options, recording, place, say))
    report(figures, json_file, too_long=LONG)
    raise typer.Exit(0 if figures["clean"] and figures["in_order"] else 1)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="alto-chaos-", ignore_cleanup_errors=True) as name:
            yield Path(name)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.absolute()


def _finished(name: str, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The figures; or the end of the command, with what went wrong. Ctrl-C stops everything first."""

    async def until_interrupted() -> dict[str, Any]:
        figures: dict[str, Any] = {}
        async with ends_on_signals():
            figures = await work
        return figures  # noqa: RET504  the context swallows nothing, but its type does not say so

    with failing(name, Broken, Retryable, Interrupted):
        return asyncio.run(until_interrupted())
