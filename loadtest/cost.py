"""What orchestration costs: processor time and memory per request, of all processes of the project together.

The engines' own share is told by themselves and taken off; broker, Redis and load generator are counted apart. What
the processes use when nothing is asked for is measured first, shown, and taken off too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

from alto_streams.wire.records import Mode
from loadtest.bench import Bench, idle_cpu_s
from loadtest.processes import spent_s

APART = ("broker", "redis", "load")
RATE = 4.0
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class CostPlan:
    """`requests` at the reference rate; then some one by one, and some with `many` in flight."""

    idle_s: float = 20.0
    requests: int = 400
    one_by_one: int = 40
    many: int = 100
    with_many: int = 600


async def measure_cost(bench: Bench, plan: CostPlan) -> dict[str, Any]:
    """CPU in milliseconds and memory in KiB per request; idle CPU in percent of a core."""
    idle = await idle_cpu_s(bench, plan.idle_s)
    at_rate = await _cpu_ms(bench, idle, plan.requests, bench.run(Mode.STREAM, RATE, plan.requests, 1))
    alone = await _cpu_ms(bench, idle, plan.one_by_one, bench.closed(1, plan.one_by_one, 2))
    before = sum(bench.resident_kib().values())
    crowd = asyncio.create_task(_cpu_ms(bench, idle, plan.with_many, bench.closed(plan.many, plan.with_many, 3)))
    most = await _most_kib(bench, crowd)
    crowded = await crowd
    return {
        "cpu_ms_per_request": at_rate["project"],
        "at_4_per_s": at_rate,
        "one_in_flight": alone,
        "many_in_flight": crowded,
        "growth_percent": round((crowded["project"] / alone["project"] - 1) * 100, 1),
        "idle_percent_of_a_core": round(sum(_project(idle).values()) * 100, 2),
        "memory_per_request_kib": round(max(0, most - before) / plan.many, 1),
        "in_flight": plan.many,
        "requests": plan.requests,
    }


async def _cpu_ms(bench: Bench, idle: Mapping[str, float], requests: int, load: Awaitable[object]) -> dict[str, Any]:
    """Of one request under this load, above what is used idle."""
    loop = asyncio.get_running_loop()
    before, engines_before, began = bench.cpu_s(), await bench.engines_cpu_s(), loop.time()
    await load
    took_s, engines_s = loop.time() - began, await bench.engines_cpu_s() - engines_before
    net = {name: used - idle[name] * took_s for name, used in spent_s(before, bench.cpu_s()).items()}
    parts = {name: round(used * 1000 / requests, 1) for name, used in net.items()}
    project_s = sum(_project(net).values()) - engines_s
    return {
        "project": round(project_s * 1000 / requests, 1),
        "engines": round(engines_s * 1000 / requests, 1),
        **{name: parts[name] for name in APART},
        "processes": _project(parts),
    }


def _project(of: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in of.items() if name not in APART}


async def _most_kib(bench: Bench, until: asyncio.Task[Any]) -> int:
    """The most memory that all processes of the project had together."""
    most = 0
    while not until.done():
        most = max(most, sum(bench.resident_kib().values()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(until), LOOK_S)
    return most
