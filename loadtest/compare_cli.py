"""`python -m loadtest sweep|knee|cost|compare`: the system under the reference workload, beside the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

import typer

from alto_streams.errors import ConfigError
from loadtest.bench import Bench, Tick, bench
from loadtest.compare import FULL, QUICK, SYSTEM, ComparePlan, compare, delivered_of
from loadtest.console import RECORDING, Json, Recording, failing, progress, report, write
from loadtest.continuous import TableUnreadable, judged, kept, ratios
from loadtest.cost import CostPlan, measure_cost
from loadtest.knee import OutOfReach, measurements, throughput_at
from loadtest.langgraph_run import LangGraphFailed
from loadtest.machine import commit, machine
from loadtest.real_engine import QUESTIONS, measure_real
from loadtest.samples import figures

T = TypeVar("T")
FAILED = (ConfigError, LangGraphFailed, OutOfReach, ValueError)
QUICK_COST = CostPlan(idle_s=5.0, requests=60, one_by_one=4, many=20, with_many=60)
WARM_UP = 240


class ModeName(StrEnum):
    """What can be put under load."""

    BARRIER = "barrier"
    STREAM = "stream"
    VERDICT_FIRST = "verdict_first"
    LANGGRAPH = "langgraph"


SystemMode = Literal["barrier", "stream", "verdict_first"]


VERDICT_FIRST, SIMULATED = ModeName.VERDICT_FIRST, "simulated"
Engine = Annotated[str, typer.Option(metavar="simulated|local|openai:URL#MODEL", help="What writes the texts.")]
Quick = Annotated[bool, typer.Option("--quick", help="A minute at most: only to see that it runs.")]
Requests = Annotated[int, typer.Option(min=20, help="Requests of each run.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs at each rate, each with other arrivals.")]


def compare_modes(
    quick: Quick = False,
    engine: Engine = SIMULATED,
    recording: Recording = RECORDING,
    json_file: Json = None,
) -> None:
    """Every mode, the LangGraph twin and the limit, under the same arrivals, with cost; 50 minutes.

    With --engine local, or a server's address: the fact-check pipeline on a real model, mode by mode, one request at a
    time.
    """
    if engine != SIMULATED:
        questions = QUESTIONS[:1] if quick else QUESTIONS
        steps = 2 + 2 * len(questions)
        return report(_run("compare", steps, lambda tick: measure_real(engine, questions, tick)), json_file)
    plan = QUICK if quick else FULL
    return report(_run("compare", plan.steps, lambda tick: compare(recording, plan, tick)), json_file)


def continuous(recording: Recording = RECORDING, json_file: Json = None) -> None:
    """A quick `compare`, its ratios held against the table in docs/performance.md; a minute."""
    found = _run("continuous", QUICK.steps, lambda tick: compare(recording, QUICK, tick))
    measured = ratios(found)
    write({"ratios": measured} | found, json_file)
    with failing("continuous", TableUnreadable):
        lines, is_fine = judged(measured, kept())
    typer.echo("\n".join(lines))
    if not is_fine:
        raise typer.Exit(1)


def sweep(
    rate: Annotated[list[float], typer.Option(min=0.05, max=50, help="Requests a second; can be given several times.")],
    mode: Annotated[list[ModeName], typer.Option(help="Can be given several times.")] = [VERDICT_FIRST],  # noqa: B006
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
    report(_run("sweep", plan.steps, lambda tick: compare(recording, plan, tick)), json_file)


def knee(
    mean_s: Annotated[float, typer.Option(min=0.5, max=60, help="The mean latency to be kept, in seconds.")] = 4.0,
    mode: Annotated[SystemMode, typer.Option(help="The mode of the system.")] = "verdict_first",
    low: Annotated[float, typer.Option(min=0.05, help="The lowest rate to try, in requests a second.")] = 0.5,
    high: Annotated[float, typer.Option(min=0.1, help="The highest rate to try.")] = 8.0,
    tolerance: Annotated[float, typer.Option(min=0.05, help="How near to come to it, in requests a second.")] = 0.5,
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
        async with bench(recording, tick) as running:
            await running.warm_up(20 if quick else WARM_UP)
            loop, means = asyncio.get_running_loop(), dict[str, float]()

            def mean_at(rate: float) -> float:
                runs = running.runs(SYSTEM[mode], rate, requests, range(1, seeds + 1))
                found = asyncio.run_coroutine_threadsafe(runs, loop).result()
                means[f"{rate:g}"] = figures(found, mode).mean_s
                return means[f"{rate:g}"]

            rate = await asyncio.to_thread(throughput_at, mean_at, mean_s, low, high, tolerance)
            return _told(running) | {"throughput": round(rate, 3), "mean_s": mean_s, "means_s": means}

    report(_run("knee", 2 + seeds * measurements(low, high, tolerance), measured), json_file)


def cost(quick: Quick = False, recording: Recording = RECORDING, json_file: Json = None) -> None:
    """CPU and memory per request of all processes of the project together; 8 minutes."""
    plan = QUICK_COST if quick else CostPlan()

    async def measured(tick: Tick) -> dict[str, Any]:
        async with bench(recording, tick) as running:
            await running.warm_up(20 if quick else WARM_UP)
            return {"cost": await measure_cost(running, plan)} | _told(running)

    report(_run("cost", 6, measured), json_file)


def _told(running: Bench) -> dict[str, Any]:
    return {"delivered": delivered_of(running.all_samples), "machine": machine(), "commit": commit()}


def _run(name: str, steps: int, measured: Callable[[Tick], Coroutine[Any, Any, T]]) -> T:
    with failing(name, *FAILED), progress(name, steps) as tick:
        return asyncio.run(measured(tick))


def register(cli: typer.Typer) -> None:
    """Adds the commands."""
    cli.command("compare")(compare_modes)
    for command in (sweep, knee, cost, continuous):
        cli.command()(command)
