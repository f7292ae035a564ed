"""`python -m loadtest COMMAND`: one command for each thing that is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from alto_streams.local.supervisor import PartFailed
from loadtest.cancel import CancelFailed
from loadtest.cancel import measure as measure_cancel
from loadtest.chaos_cli import register
from loadtest.compare_cli import register as register_compare
from loadtest.hop import HopFailed, measure
from loadtest.kafka import Unavailable
from loadtest.limit_cli import register as register_limit
from loadtest.memory import MemoryFailed
from loadtest.memory import measure as measure_memory
from loadtest.report_cli import register as register_report
from loadtest.slow_cli import register as register_slow

FAILED = (CancelFailed, HopFailed, MemoryFailed, PartFailed, Unavailable)

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Measures the system, on real brokers and workers.")

Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as JSON.")]
Broker = Annotated[str | None, typer.Option(help="kafka://host:port; without it, Apache Kafka is started for the run.")]


@contextmanager
def _failing(command: str) -> Iterator[None]:
    """What cannot be measured is one line that says why, whether it was raised alone or by one of several tasks."""
    try:
        yield
    except (*FAILED, ExceptionGroup) as error:
        first: Exception = error
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        if not isinstance(first, FAILED):
            raise
        typer.echo(f"{command}: {first}", err=True)
        raise typer.Exit(1) from None


@cli.callback()
def main() -> None:
    """Keeps the command's name on the command line while there is only one."""


@cli.command()
def hop(
    quick: Annotated[bool, typer.Option("--quick", help="200 records instead of 1,000.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, max=200, help="Records a second.")] = 20.0,
    broker: Broker = None,
    json_file: Json = None,
) -> None:
    """Latency added by one hop over the log, produce to handler, on an idle system."""
    with _failing("hop"):
        figures = measure(broker, count=200 if quick else 1000, warm_up=40 if quick else 200, rate=rate)
    _report(figures, json_file)


@cli.command()
def cancel(
    quick: Annotated[bool, typer.Option("--quick", help="2 requests of 21 calls each way instead of 10.")] = False,
    json_file: Json = None,
) -> None:
    """How soon the engine calls of a cancelled request, and of one cancelled item, are over; with and without Redis."""
    with _failing("cancel"):
        figures = measure_cancel(2 if quick else 10)
    _report(figures, json_file)


@cli.command()
def memory(
    quick: Annotated[bool, typer.Option("--quick", help="100 and 400 requests instead of 1,000 and 10,000.")] = False,
    json_file: Json = None,
) -> None:
    """Memory of every process after 10,000 requests against that after 1,000, with a short horizon; about 8 minutes."""
    with _failing("memory"):
        figures = measure_memory(100, 400, at_once=8, horizon_s=10) if quick else measure_memory(1_000, 10_000)
    _report(figures, json_file)


def _report(figures: dict[str, Any], json_file: Path | None) -> None:
    text = json.dumps(figures, indent=2)
    if json_file is not None:
        json_file.write_text(text + "\n")
    typer.echo(text)


register(cli)
register_limit(cli)
register_compare(cli)
register_report(cli)
register_slow(cli)


if __name__ == "__main__":
    cli()
