"""`python -m loadtest slow-client`: the command around the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from alto_streams.client import ProblemError
from alto_streams.local.supervisor import PartFailed
from alto_streams.parts import PartDown
from loadtest import slow_client as run
from loadtest.kafka import Unavailable


def register(cli: typer.Typer) -> None:
    """Adds the command."""
    cli.command(name="slow-client")(slow_client)


def slow_client(
    quick: Annotated[bool, typer.Option("--quick", help="Phases of 11 s instead of two minutes.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as JSON.")] = None,
) -> None:
    """A client that reads ten times slower than its events come: memory, and the others' latency; 7 minutes."""
    figures: dict[str, Any] = {}
    try:
        figures = run.measure(run.QUICK if quick else run.Options())
    except* (run.SlowClientFailed, PartFailed, ProblemError, PartDown, Unavailable) as failed:
        for error in failed.exceptions:
            typer.echo(f"slow-client: {error}", err=True)
    if not figures:
        raise typer.Exit(1)
    text = json.dumps(figures, indent=2)
    if json_file is not None:
        json_file.write_text(text + "\n")
    typer.echo(text)
