"""`python -m loadtest slow-client`: the command around the run."""

from __future__ import annotations

from typing import Annotated

import typer

from alto_streams.errors import PartDown, ProblemError
from loadtest import slow_client as run
from loadtest.console import Json, failing, report


def register(cli: typer.Typer) -> None:
    """Adds the command."""
    cli.command(name="slow-client")(slow_client)


def slow_client(
    quick: Annotated[bool, typer.Option("--quick", help="Phases of 11 s instead of two minutes.")] = False,
    json_file: Json = None,
) -> None:
    """A client that reads ten times slower than its events come: memory, and the others' latency; 7 minutes."""
    with failing("slow-client", run.SlowClientFailed, ProblemError, PartDown):
        figures = run.measure(run.QUICK if quick else run.Options())
    report(figures, json_file)
