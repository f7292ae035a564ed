"""`python -m loadtest COMMAND`: one command for each thing that is measured."""

from __future__ import annotations

from typing import Annotated

import typer
from aiokafka.errors import KafkaConnectionError

from loadtest.cancel import CancelFailed
from loadtest.cancel import measure as measure_cancel
from loadtest.chaos_cli import register as register_chaos
from loadtest.client_cost import QUICK_SECONDS, RATES, SECONDS, ClientCostFailed
from loadtest.client_cost import measure as measure_client
from loadtest.compare_cli import register as register_compare
from loadtest.console import Json, failing, progress, report
from loadtest.hop import HopFailed, measure
from loadtest.limit_cli import register as register_limit
from loadtest.memory import MemoryFailed
from loadtest.memory import measure as measure_memory
from loadtest.report_cli import register as register_report
from loadtest.schedule_cli import register as register_schedule
from loadtest.slow_cli import register as register_slow

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Measures the system, on real brokers and workers.")

Broker = Annotated[str | None, typer.Option(help="kafka://host:port; without it, Apache Kafka is started for the run.")]


@cli.command()
def hop(
    quick: Annotated[bool, typer.Option("--quick", help="200 records instead of 1,000.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, max=200, help="Records a second.")] = 20.0,
    broker: Broker = None,
    json_file: Json = None,
) -> None:
    """Latency added by one hop over the log, produce to handler, on an idle system."""
    with failing("hop", HopFailed, KafkaConnectionError):
        figures = measure(broker, count=200 if quick else 1000, warm_up=40 if quick else 200, rate=rate)
    report(figures, json_file)


@cli.command()
def client(
    quick: Annotated[bool, typer.Option("--quick", help="4 seconds at each rate instead of 15.")] = False,
    json_file: Json = None,
) -> None:
    """Processor time of a record in the Kafka client alone, at both ends, and of all records of a request; a minute."""
    with failing("client", ClientCostFailed), progress("client", 1 + len(RATES)) as tick:
        figures = measure_client(QUICK_SECONDS if quick else SECONDS, tick)
    report(figures, json_file)


@cli.command()
def cancel(
    quick: Annotated[bool, typer.Option("--quick", help="2 requests of 21 calls each way instead of 10.")] = False,
    json_file: Json = None,
) -> None:
    """How soon the engine calls of a cancelled request, and of one cancelled item, are over; with and without Redis."""
    with failing("cancel", CancelFailed):
        figures = measure_cancel(2 if quick else 10)
    report(figures, json_file)


@cli.command()
def memory(
    quick: Annotated[bool, typer.Option("--quick", help="100 and 400 requests instead of 1,000 and 10,000.")] = False,
    json_file: Json = None,
) -> None:
    """Memory of every process after 10,000 requests against that after 1,000, with a short horizon; about 8 minutes."""
    with failing("memory", MemoryFailed):
        figures = measure_memory(100, 400, at_once=8, horizon_s=10) if quick else measure_memory(1_000, 10_000)
    report(figures, json_file)


register_chaos(cli)
register_limit(cli)
register_compare(cli)
register_report(cli)
register_schedule(cli)
register_slow(cli)


if __name__ == "__main__":
    cli()
