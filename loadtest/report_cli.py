"""`python -m loadtest report`: draws what the other commands have measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loadtest.console import failing
from loadtest.result import NoResult, read_result


def report(
    file: Annotated[Path, typer.Argument(help="What `compare --json` or `limit --json` has written.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write to; without it, that of the file.")] = None,
) -> None:
    """Draws latency against offered rate, with the limit, and a latency breakdown: PNG, and one HTML page with all."""
    from loadtest.report import write_report  # matplotlib takes a second, which the other commands can do without

    with failing("report", NoResult, OSError):
        for written in write_report(read_result(file), out or file.parent, file.stem):
            typer.echo(written)


def register(cli: typer.Typer) -> None:
    """Adds the command."""
    cli.command()(report)
