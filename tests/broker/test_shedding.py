"""Requests that cannot meet their deadlines, on Apache Kafka, with the scheduler and two LM workers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from alto_streams.agents.lm.pool import SHED_CAUSE
from alto_streams.agents.scheduler.load_records import read_load
from alto_streams.client import Client
from alto_streams.wire.plans import Load
from alto_streams.wire.records import EventKind
from alto_streams.wire.redis_keys import load_key
from loadtest.kafka import Unavailable
from loadtest.slow_engine import SlowEngine
from loadtest.systems import System, system
from tests.broker import hurried
from tests.e2e.systems import environment

IMPOSSIBLE_S = 3.0  # of two calls one after the other, of which nothing is known but what is usual
LATE_S = 90.0
TRIES = 5


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[System, SlowEngine]]:
    engine = SlowEngine(lambda stage, name: f"{name} 0\n" if stage == "plans" else "")
    async with engine.serving() as url:
        models = {hurried.MODEL: f"openai:{url}#slow"}
        try:
            async with system(folder, "tests.broker.hurried", models, workers=1, lm_workers=2) as started:
                yield started, engine
        except Unavailable as missing:
            pytest.skip(f"Apache Kafka: {missing}")


async def ended(client: Client, request: str) -> tuple[str, str | None, int]:
    """Its status, its cause, and when the log had its end."""
    async for event in client.events(request):
        if event.kind is EventKind.DONE:
            return event.body["status"], event.body.get("cause"), event.at_ms
    raise AssertionError("its events ended without its end")


async def test_a_request_with_an_impossible_deadline_is_shed_before_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (started, engine), Client([started.gateway]) as client:
        # An engine with room sheds nothing: both have some to do.
        patients = [await client.submit("hurried", {"name": f"patient-{n}"}, deadline=600) for n in range(8)]
        status, cause, after_ms, number, end = "", None, 0.0, 0, time.monotonic() + LATE_S
        # Until the first forecast is known they end at their deadlines; so may one on a machine that stands still.
        while (status, after_ms < 1000 * IMPOSSIBLE_S) != ("shed", True):
            assert time.monotonic() < end, (status, cause, after_ms)
            number += 1
            sent_ms = time.time() * 1000
            request = await client.submit("hurried", {"name": f"hurried-{number}"}, deadline=IMPOSSIBLE_S)
            status, cause, at_ms = await ended(client, request)
            after_ms = at_ms - sent_ms
        assert cause == SHED_CAUSE
        assert (await client.get(request))["status"] == "shed"
        assert not [stream for stream in engine.streams if stream.own == f"hurried-{number}"]
        assert {(await client.get(patient))["status"] for patient in patients} == {"running"}
        await _asked_by_a_command(started.gateway)
        await _loads(started.settings.redis)
        for patient in patients:
            await client.cancel(patient)


async def _asked_by_a_command(gateway: str) -> None:
    """What a user sees of it. On a machine that stands still one may end at its deadline, but not all of them."""
    asked = ["ask", '{"name": "asked"}', "--pipeline", "hurried", "--deadline", str(IMPOSSIBLE_S), "--json"]
    for _ in range(TRIES):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "alto_streams", *asked, "--gateway", gateway],
            capture_output=True,
            text=True,
            timeout=LATE_S,
            env=environment({}),
            check=False,
        )
        assert done.returncode == 1
        if f"the request ended shed: {SHED_CAUSE}" in done.stderr:
            return
    raise AssertionError(done.stderr)


async def _loads(redis: str) -> None:
    """Both workers tell what they hold: together, all partitions, each once; and the patient request's call."""
    end = time.monotonic() + LATE_S
    async with Redis.from_url(redis) as client:
        while not _is_whole(loads := await _told(client)):
            assert time.monotonic() < end, loads  # a rebalance may be going on
            await asyncio.sleep(0.05)
    assert all(sender for load in loads for sender in load.work)  # each call has a receipt


async def _told(client: Redis) -> list[Load]:
    return [load for value in await client.hvals(load_key(hurried.MODEL)) if (load := read_load(value)) is not None]


def _is_whole(loads: list[Load]) -> bool:
    owned = {
        name: sorted(partition for load in loads for partition in load.owned.get(name, []))
        for name in ("hurried.plans", "hurried.steps")
    }
    runs = sum(load.running for load in loads) >= 1
    return len(loads) == 2 and runs and all(mine == list(range(24)) for mine in owned.values())
