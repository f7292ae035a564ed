"""`python -m loadtest sweep|knee|cost|compare`: the system under the reference workload, beside the limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alto_streams.local.supervisor import PartFailed
from alto_streams.settings import ConfigError
from loadtest.bench import Bench, Tick, bench
from loadtest.compare import FULL, QUICK, SYSTEM, ComparePlan, compare, delivered_of
from loadtest.continuous import TableUnreadable, judged, kept, ratios
from loadtest.cost import CostPlan, measure_cost
from loadtest.kafka import Unavailable
from loadtest.knee import OutOfReach, measurements, throughput_at
from loadtest.langgraph_run import LangGraphFailed
from loadtest.limit_cli import RECORDING, Json, Recording
from loadtest.local_engine import QUESTIONS, measure_local
from loadtest.machine import commit, machine
from loadtest.samples import figures

T = TypeVar("T")
FAILED = (ConfigError, LangGraphFailed, OutOfReach, PartFailed, Unavailable, ValueError)
QUICK_COST = CostPlan(idle_s=5.0, requests=60, one_by_one=4, many=20, with_many=60)
WARM_UP = 240


class ModeName(StrEnum):
    """What can be put under load."""

    BARRIER = "barrier"
    STREAM = "stream"
    VERDICT_FIRST = "verdict_first"
    LANGGRAPH = "langgraph"


class EngineName(StrEnum):
    """What writes the texts."""

    SIMULATED = "simulated"
    LOCAL = "local"


VERDICT_FIRST, SIMULATED = ModeName.VERDICT_FIRST, EngineName.SIMULATED
Quick = Annotated[bool, typer.Option("--quick", help="A minute at most: little is measured, only to see that it runs.")]
Requests = Annotated[int, typer.Option(min=20, help="Of each run.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs at each rate, with other arrivals each.")]


def compare_modes(
    quick: Quick = False,
    engine: Annotated[EngineName, typer.Option(help="The reference engines, or the real local model.")] = SIMULATED,
    recording: Recording = RECORDING,
    json_file: Json = None,
) -> None:
    """Every mode, the LangGraph twin and the limit, under the same arrivals, with cost; 40 minutes.

    With --engine local: the fact-check pipeline on a real model, mode by mode, one request at a time.
    """
    if engine is EngineName.LOCAL:
        questions = QUESTIONS[:1] if quick else QUESTIONS
        steps = 2 + 2 * len(questions)
        return _report(_run("compare", steps, lambda tick: measure_local(questions, tick)), json_file)
    plan = QUICK if quick else FULL
    return _report(_run("compare", plan.steps, lambda tick: compare(recording, plan, tick)), json_file)


def continuous(recording: Recording = RECORDING, json_file: Json = None) -> None:
    """A quick `compare`, its ratios held against the table in docs/performance.md; a minute."""
    found = _run("continuous", QUICK.steps, lambda tick: compare(recording, QUICK, tick))
    measured = ratios(found)
    if json_file is not None:
        json_file.write_text(json.dumps({"ratios": measured} | found, indent=2) + "\n")
    try:
        lines, is_fine = judged(measured, kept())
    except TableUnreadable as error:
        typer.echo(f"continuous: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo("\n".join(lines))
    if not is_fine:
        raise typer.Exit(1)


def sweep(
    rate: Annotated[list[float], typer.Option(min=0.05, max=50, help="Requests a second; may be given several times.")],
    mode: Annotated[list[ModeName], typer.Option(help="May be given several times.")] = [VERDICT_FIRST],  # noqa: B006
    requests: Requests = 300,
    seeds: Seeds = 2,
    quick: Quick = False,
    recording: Recording = RECORDING,
    json_file: Json = None,
) -> None:
    """Latency of the modes at the offered rates, beside the limit."""
    if quick:
        requests, seeds = min(requests, 40), 1
    rates = {str(each): tuple(sorted(rate)) for each in mode}
    plan = ComparePlan(rates, seeds, requests, pooled=(), warm_up=20 if quick else WARM_UP, cost=None)
    _report(_run("sweep", plan.steps, lambda tick: compare(recording, plan, tick)), json_file)


def knee(
    mean_s: Annotated[float, typer.Option(min=0.5, max=60, help="The mean latency to be kept, in seconds.")] = 4.0,
    mode: Annotated[ModeName, typer.Option(help="Of the system.")] = VERDICT_FIRST,
    low: Annotated[float, typer.Option(min=0.05, help="Where to look, in requests a second: from here")] = 0.5,
    high: Annotated[float, typer.Option(min=0.1, help="to here.")] = 8.0,
    tolerance: Annotated[float, typer.Option(min=0.05, help="How near to come.")] = 0.5,
    requests: Requests = 300,
    seeds: Seeds = 1,
    quick: Quick = False,
    recording: Recording = RECORDING,
    json_file: Json = None,
) -> None:
    """The highest offered rate at which the system keeps a mean latency, found by halving."""
    if quick:
        low, high, tolerance, requests, seeds = 4.0, 8.0, 4.0, 40, 1

    async def measured(tick: Tick) -> dict[str, Any]:
        if mode.value not in SYSTEM:
            raise ValueError(f"knee measures the system: {', '.join(SYSTEM)}")
        async with bench(recording, tick) as running:
            await running.warm_up(20 if quick else WARM_UP)
            loop, means = asyncio.get_running_loop(), dict[str, float]()

            def mean_at(rate: float) -> float:
                runs = running.runs(SYSTEM[mode.value], rate, requests, range(1, seeds + 1))
                found = asyncio.run_coroutine_threadsafe(runs, loop).result()
                means[f"{rate:g}"] = figures(found, mode.value).mean_s
                return means[f"{rate:g}"]

            rate = await asyncio.to_thread(throughput_at, mean_at, mean_s, low, high, tolerance)
            return _told(running) | {"throughput": round(rate, 3), "mean_s": mean_s, "means_s": means}

    _report(_run("knee", 2 + seeds * measurements(low, high, tolerance), measured), json_file)


def cost(quick: Quick = False, recording: Recording = RECORDING, json_file: Json = None) -> None:
    """CPU and memory per request of all processes of the project together; 8 minutes."""
    plan = QUICK_COST if quick else CostPlan()

    async def measured(tick: Tick) -> dict[str, Any]:
        async with bench(recording, tick) as running:
            await running.warm_up(20 if quick else WARM_UP)
            return {"cost": await measure_cost(running, plan)} | _told(running)

    _report(_run("cost", 6, measured), json_file)


def _told(running: Bench) -> dict[str, Any]:
    return {"delivered": delivered_of(running.all_samples), "machine": machine(), "commit": commit()}


def _run(name: str, steps: int, measured: Callable[[Tick], Awaitable[T]]) -> T:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    async def run(tick: Tick) -> T:
        return await measured(tick)

    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(name, total=steps)
            return asyncio.run(run(lambda what: progress.update(task, advance=1, description=f"{name}: {what}")))
    except FAILED as error:
        typer.echo(f"{name}: {error}", err=True)
        raise typer.Exit(1) from None


def _report(figures: dict[str, Any], json_file: Path | None) -> None:
    text = json.dumps(figures, indent=2)
    if json_file is not None:
        json_file.write_text(text + "\n")
    typer.echo(text)


def register(cli: typer.Typer) -> None:
    """Adds the commands."""
    cli.command("compare")(compare_modes)
    for command in (sweep, knee, cost, continuous):
        cli.command()(command)
