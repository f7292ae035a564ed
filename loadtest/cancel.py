"""How soon the engine calls of a cancelled request, or of one item of it, are over: measured at the engine.

Real workers, two per stage and two in front of the engine, on Apache Kafka. Requests of 21 calls each are in flight;
one after the other, or one branch of it after the other, is cancelled through the gateway. The engine notes when each
of its streams is broken off. All of it is done once with Redis and once with Redis stopped.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alto_streams.client import Client
from loadtest import fanout
from loadtest.kafka import kafka_version
from loadtest.machine import commit, machine
from loadtest.slow_engine import SlowEngine, Stream
from loadtest.systems import System, system

WORKERS = 2
AT_ONCE = 3  # requests in flight
CALLS_OF_REQUEST = 1 + fanout.WIDTH + fanout.WIDTH**2
CALLS_OF_ITEM = 1 + fanout.WIDTH
BEGIN_S, OVER_S = 30.0, 1.0
WARM_UP = 3  # requests that are not counted
SLOTS = AT_ONCE * CALLS_OF_REQUEST


class CancelFailed(Exception):
    """The benchmark could not be carried out; says what did not happen."""


@dataclass(slots=True)
class Seen:
    """What one kind of cancel did. Times in milliseconds; those since the acceptance may be below 0."""

    since_accepted_ms: list[float] = field(default_factory=list)
    since_sent_ms: list[float] = field(default_factory=list)
    answered_ms: list[float] = field(default_factory=list)
    cancels: list[tuple[str, float, float]] = field(default_factory=list)  # whose; sent and accepted, in seconds
    running_after_1s: int = 0
    begun_later: int = 0

    def figures(self) -> dict[str, Any]:
        """As they are reported."""
        return {
            "calls": len(self.since_accepted_ms) + self.running_after_1s,
            "cancels": len(self.cancels),
            "since_accepted": percentiles(self.since_accepted_ms),
            "since_sent": percentiles(self.since_sent_ms),
            "answered": percentiles(self.answered_ms),
            "running_after_1s": self.running_after_1s,
            "begun_later": self.begun_later,
        }


def measure(requests: int, *, items: bool = True) -> dict[str, Any]:
    """Cancels `requests` requests whole, and all branches of as many others (`items`); with Redis, then without.

    Raises:
        CancelFailed: calls did not begin.
        Unavailable: this machine cannot run Apache Kafka.
    """
    with tempfile.TemporaryDirectory(prefix="alto-cancel-", ignore_cleanup_errors=True) as name:
        before = machine()
        figures = asyncio.run(_run(Path(name), requests, items))
    return {
        **figures,
        "broker": f"Apache Kafka {kafka_version()}",
        "machine": before,
        "commit": commit(),
        "settings": {"workers_per_stage": WORKERS, "requests_in_flight": AT_ONCE, "calls_of_request": CALLS_OF_REQUEST},
    }


async def _run(folder: Path, requests: int, items: bool) -> dict[str, Any]:
    engine, figures = SlowEngine(fanout.lines_of), dict[str, Any]()
    still: dict[str, Any] = {"policy": "round_robin"}  # a plan would move calls, and their streams would begin anew
    async with engine.serving() as url:
        models = {fanout.MODEL: f"openai:{url}#slow"}
        async with (
            system(folder, "loadtest.fanout", models, workers=WORKERS, engine_slots=SLOTS, **still) as running,
            Client([running.gateway]) as client,
        ):
            await _whole(client, engine, WARM_UP, "warm-up", Seen())  # broker and workers are slow at first
            if items:
                await _items(client, engine, 1, "warm-up-item", Seen())
            for redis in ("redis", "redis_stopped"):
                if redis == "redis_stopped":
                    await asyncio.to_thread(running.valkey.stop)
                figures[redis] = await _both(running, client, engine, requests, items, redis)
            await asyncio.to_thread(running.valkey.start)  # without it the egress would be waited for
    return figures


async def _both(
    running: System, client: Client, engine: SlowEngine, requests: int, items: bool, name: str
) -> dict[str, Any]:
    whole, single = Seen(), Seen()
    await _whole(client, engine, requests, f"{name}-whole", whole)
    if items:
        await _items(client, engine, requests, f"{name}-item", single)
    await asyncio.sleep(OVER_S)
    _count(engine, whole)
    _count(engine, single)
    return {"request": whole.figures()} | ({"item": single.figures()} if items else {})


async def _whole(client: Client, engine: SlowEngine, requests: int, name: str, seen: Seen) -> None:
    """Cancels request after request, while others run."""
    async for request, own in _begun(client, engine, requests, name):
        await _cancelled(client, engine, request, own, seen)


async def _items(client: Client, engine: SlowEngine, requests: int, name: str, seen: Seen) -> None:
    """Cancels branch after branch of each request, and then what is left of it."""
    async for request, own in _begun(client, engine, requests, name):
        for branch in range(fanout.WIDTH):
            await _cancelled(client, engine, request, f"{own} {branch}", seen, stage="plans", path=str(branch))
            rest = len(_open(engine, own))
            expected = CALLS_OF_REQUEST - (branch + 1) * CALLS_OF_ITEM
            if rest != expected:
                raise CancelFailed(f"{rest} calls run after {branch + 1} branches were cancelled, not {expected}")
        await client.cancel(request)


async def _begun(client: Client, engine: SlowEngine, requests: int, name: str) -> AsyncIterator[tuple[str, str]]:
    """Requests in flight, each with its name: of all of them all calls run."""
    flying = deque[tuple[str, str]]()
    for number in range(requests):
        own = f"{name}-{number}"
        flying.append((await client.submit("fanout", {"name": own}), own))
        while len(flying) == AT_ONCE or (flying and number == requests - 1):
            for _, each in flying:
                await _until_all_run(engine, each)
            yield flying.popleft()


async def _until_all_run(engine: SlowEngine, own: str) -> None:
    deadline = time.monotonic() + BEGIN_S
    while len(_open(engine, own)) < CALLS_OF_REQUEST:
        if time.monotonic() > deadline:
            raise CancelFailed(f"{len(_open(engine, own))} of {CALLS_OF_REQUEST} calls began within {BEGIN_S:g} s")
        await asyncio.sleep(0.01)


async def _cancelled(
    client: Client, engine: SlowEngine, request: str, own: str, seen: Seen, stage: str = "", path: str = ""
) -> None:
    """Returns when its calls are over, or after a second: what still runs then is counted in the end."""
    sent_s = time.monotonic()
    await client.cancel(request, stage=stage, path=path)
    accepted_s = time.monotonic()
    seen.answered_ms.append((accepted_s - sent_s) * 1000)
    seen.cancels.append((own, sent_s, accepted_s))
    while _open(engine, own) and time.monotonic() < accepted_s + OVER_S:  # noqa: ASYNC110 - the engine has no event
        await asyncio.sleep(0.01)


def _count(engine: SlowEngine, seen: Seen) -> None:
    """What became of the calls of all cancels, a second after the last of them."""
    for own, sent_s, accepted_s in seen.cancels:
        for stream in _of(engine, own):
            if stream.ended_s is None or stream.ended_s > accepted_s + OVER_S:
                seen.running_after_1s += 1
            elif stream.ended_s >= sent_s:
                seen.since_accepted_ms.append((stream.ended_s - accepted_s) * 1000)
                seen.since_sent_ms.append((stream.ended_s - sent_s) * 1000)
            seen.begun_later += stream.began_s > accepted_s


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 (inclusive, interpolated) and the largest; nothing where there are not even two values."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50_ms": round(cuts[49], 1), "p95_ms": round(cuts[94], 1), "max_ms": round(max(values), 1)}


def _of(engine: SlowEngine, own: str) -> list[Stream]:
    return [stream for stream in engine.streams if stream.own == own or stream.own.startswith(own + " ")]


def _open(engine: SlowEngine, own: str) -> list[Stream]:
    return [stream for stream in _of(engine, own) if stream.ended_s is None]
