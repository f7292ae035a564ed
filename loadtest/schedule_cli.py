"""`python -m loadtest schedule`: the scheduler's policies beside one another, and what has to hold of ours."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from alto_streams.errors import ConfigError
from loadtest.console import RECORDING, Json, Recording, failing, progress, write
from loadtest.knee import OutOfReach
from loadtest.machine import commit, machine
from loadtest.schedule import FULL, QUICK, measure_schedule
from loadtest.schedule_claims import Claim, claims
from loadtest.schedule_trials import SESSION_S

COLUMNS = {"prefix_hit": "hit", "mean_s": "mean, s", "p99_s": "p99, s", "goodput": "within 4 s"}


def schedule(
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, and few requests: only to see that it runs.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that simulate at once.")] = 1,
    recording: Recording = RECORDING,
    json_file: Json = None,
) -> None:
    """Six policies in a mix that shifts twice, overload, and the loss of an engine, in virtual time; a quarter hour."""
    plan = QUICK if quick else FULL
    with failing("schedule", ConfigError, OutOfReach), progress("schedule", plan.tasks) as tick:
        found = measure_schedule(recording, plan, jobs, tick)
    shown = claims(found, SESSION_S)
    about = {"machine": machine(), "commit": commit(), "seed": 1, "settings": plan.as_json()}
    write({**found, "claims": [each._asdict() for each in shown], **about, "recording": recording.name}, json_file)
    console = Console(width=max(110, Console().width))
    console.print(_policies(found["policies"], plan.rate), _claims(shown))


def _policies(found: dict[str, Any], rate: float) -> Table:
    phases = list(next(iter(found.values()))["phases"])
    title = f"requests/s at mean 5.6 s: over all, by phase; then figures at {rate:g} requests/s"
    table = Table("policy", "over all", *phases, *COLUMNS.values(), box=SIMPLE, padding=0, title=title)
    for name, each in found.items():
        by_phase = (each["phases"][phase] for phase in phases)
        rates = [f"{place['throughput_at_5600ms']:.2f}±{place['throughput_95']:.2f}" for place in (each, *by_phase)]
        table.add_row(name, *rates, *(f"{each[column]:.2f}" for column in COLUMNS))
    return table


def _claims(shown: list[Claim]) -> Table:
    table = Table("what has to hold", "asked", "measured", "", box=SIMPLE, padding=0)
    for each in shown:
        table.add_row(each.claim, each.asked, each.measured, "met" if each.met else "NOT MET")
    return table


def register(cli: typer.Typer) -> None:
    """Adds the command."""
    cli.command()(schedule)
