"""Whether a system forgets: memory of every worker after many requests, against that after the first of them.

Apache Kafka, one worker per stage, a scripted engine without timing, a short horizon. After each lot of requests the
load stops until the horizon has passed and no worker keeps a row any more; then their resident memory is read. It is
also read at the end of the load itself. In the end the changelogs are read: what they keep, and how large a marker was.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from alto_streams.client import Client
from alto_streams.wire.records import EventKind
from alto_streams.wire.topic_names import changelog_topic
from loadtest import small
from loadtest.changelogs import kept
from loadtest.kafka import kafka_version
from loadtest.machine import commit, machine
from loadtest.processes import resident_kib
from loadtest.systems import System, system

FORGOTTEN_S = 90.0
REST_S = 1.0
ROWS = "alto_rows "


class MemoryFailed(Exception):
    """The benchmark could not be carried out, or something was not forgotten; says what."""


def measure(first: int, last: int, *, at_once: int = 32, horizon_s: float = 20.0) -> dict[str, Any]:
    """Memory of every process after `first` and after `last` requests, in KiB, and the growth between them in percent.

    Raises:
        MemoryFailed: a request did not end well, or rows were not forgotten.
        Unavailable: this machine cannot run Apache Kafka.
    """
    with tempfile.TemporaryDirectory(prefix="alto-memory-", ignore_cleanup_errors=True) as name:
        before = machine()
        figures = asyncio.run(_run(Path(name), first, last, at_once, horizon_s))
    return {
        **figures,
        "broker": f"Apache Kafka {kafka_version()}",
        "machine": before,
        "commit": commit(),
        "settings": {"horizon_s": horizon_s, "at_once": at_once, "workers_per_stage": 1},
    }


async def _run(folder: Path, first: int, last: int, at_once: int, horizon_s: float) -> dict[str, Any]:
    (folder / "recording").write_text("its pipeline knows it\n")
    bounds: dict[str, Any] = {"horizon_s": horizon_s, "control_keep_s": horizon_s, "events_done_ttl_s": int(horizon_s)}
    models = {small.MODEL: f"scripted:{folder / 'recording'}"}
    async with system(folder, "loadtest.small", models, workers=1, engine_slots=at_once, **bounds) as running:
        began = time.monotonic()
        busy_first, idle_first = await _lot(running, first, at_once)
        busy_last, idle_last = await _lot(running, last - first, at_once)
        took_s = time.monotonic() - began
        left = await kept(running.settings.broker, [changelog_topic("small", stage) for stage in small.pipeline.stages])
    return {
        "requests": {"first": first, "last": last},
        "seconds": round(took_s),
        "after_the_horizon": _compared(idle_first, idle_last),
        "under_load": _compared(busy_first, busy_last),
        "changelogs": asdict(left),
    }


async def _lot(running: System, requests: int, at_once: int) -> tuple[dict[str, int], dict[str, int]]:
    """Memory at the end of so many requests, and once they are forgotten."""
    left = iter(range(requests))

    async def one_after_another(client: Client) -> None:
        for number in left:
            request = await client.submit("small", {"name": f"topic {number}"})
            async for event in client.events(request):
                if event.kind is EventKind.DONE and event.body["status"] != "ok":
                    raise MemoryFailed(f"request {request} ended {event.body}")

    async with Client([running.gateway]) as client, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another(client))
    busy = resident_kib(running.supervisor.pids)
    await _forgotten(running)
    return busy, resident_kib(running.supervisor.pids)


async def _forgotten(running: System) -> None:
    """Waits until no stage has a row."""
    within_s = running.settings.horizon_s + FORGOTTEN_S
    deadline = time.monotonic() + within_s
    async with httpx.AsyncClient() as http:
        while rows := await _rows(running, http):
            if time.monotonic() > deadline:
                raise MemoryFailed(f"rows are still there {within_s:g} s after the last request: {rows}")
            await asyncio.sleep(REST_S)


async def _rows(running: System, http: httpx.AsyncClient) -> dict[str, int]:
    found = {}
    for stage in small.pipeline.stages:
        page = (await http.get(f"{running.addresses[stage]}/metrics")).text
        rows = [line.removeprefix(ROWS) for line in page.splitlines() if line.startswith(ROWS)]
        if not rows:
            raise MemoryFailed(f"the worker of {stage} does not say how many rows it has")
        if float(rows[0]):
            found[stage] = int(float(rows[0]))
    return found


def _compared(first: dict[str, int], last: dict[str, int]) -> dict[str, Any]:
    parts = {
        name: {"first_kib": first[name], "last_kib": last[name], "growth_percent": _growth(first[name], last[name])}
        for name in sorted(first)
    }
    return {"worst_growth_percent": max(part["growth_percent"] for part in parts.values()), "parts": parts}


def _growth(first: int, last: int) -> float:
    return round((last - first) * 100 / first, 2)
