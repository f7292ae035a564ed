"""`python -m loadtest limit`: what no system can be faster than, on the reference workload."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from alto_streams.errors import ConfigError
from loadtest.console import RECORDING, Json, Recording, failing, progress, write
from loadtest.knee import OutOfReach
from loadtest.limit_figures import LATENCIES, Plan, measure_limit
from loadtest.machine import commit, machine
from loadtest.reference.workload import load_workload

ROWS = {"mean p50 p99": ("mean_s", "p50_s", "p99_s"), "token verdict": ("ttft_s", "first_verdict_s")}


def limit(
    quick: Annotated[bool, typer.Option("--quick", help="2 seeds instead of 4.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs at each rate; 4 by default.")] = None,
    requests: Annotated[int | None, typer.Option(min=20, help="Requests of each run; 600 by default.")] = None,
    recording: Recording = RECORDING,
    json_file: Json = None,
) -> None:
    """The reference workload on its engines with no overhead: latency and throughput in every mode; half a minute."""
    usual = Plan(seeds=2) if quick else Plan()
    plan = Plan(seeds or usual.seeds, requests or usual.requests)
    with failing("limit", ConfigError, OutOfReach):
        rows = load_workload(recording)
        with progress("limit", plan.measurements) as tick:
            found = measure_limit(rows, plan, tick)
    settings = {**plan.as_json(), "recording": recording.name}
    figures = {"limit": found, "machine": machine(), "commit": commit(), "settings": settings}
    write(figures, json_file)
    Console().print(_table(found))


def _table(found: dict[str, dict[str, Any]]) -> Table:
    table = Table("limit, s", *(mode.replace("_", "-") for mode in found), box=SIMPLE, padding=0)
    modes = list(found.values())
    table.add_row("no load: mean", *(f"{mode['no_load_mean_s']:.2f}" for mode in modes))
    for name, latency_s in LATENCIES.items():
        ratios = (f"{mode[name]:.2f} (x{mode[name] / modes[0][name]:.2f})" for mode in modes)
        table.add_row(f"req/s at mean {latency_s:g}", *ratios)
    for rate in modes[0]["rates"]:
        of_rate = [mode["rates"][rate] for mode in modes]
        for title, names in ROWS.items():
            shown = (" ".join(f"{each[name]:.2f}" for name in names) for each in of_rate)
            table.add_row(f"{rate}/s: {title}", *shown)
    return table


def register(cli: typer.Typer) -> None:
    """Adds the command."""
    cli.command()(limit)
