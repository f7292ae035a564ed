"""The latency that one hop over the log adds: from just before a record is produced to the handler that gets it.

Producer and handler are two processes; both use the workers' own app, transport and sender. The load is open: sends
happen at seeded Poisson instants and never wait for one another. What comes first is warm-up and is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from alto_streams.local import ping
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings, settings
from alto_streams.worker.app import App, new_app
from alto_streams.worker.tcp_ports import free_ports
from loadtest.kafka import Kafka, kafka_version
from loadtest.machine import ROOT, commit, machine

HOST = "127.0.0.1"
PARTITIONS = 8
SETTLE_S, DEADLINE_S = 60.0, 30.0


class HopFailed(Exception):
    """The benchmark could not be carried out; says which part failed, with the end of its log."""


def measure(broker: str | None, count: int, warm_up: int, rate: float, seed: int = 1) -> dict[str, Any]:
    """Runs the benchmark: `count` records counted after `warm_up`, at `rate` a second, on `broker` or an own Kafka.

    Returns p50_ms, p99_ms, mean_ms, max_ms, n, and what they were measured with.

    Raises:
        HopFailed: the worker did not start, or records did not arrive.
        Unavailable: no broker is given and this machine cannot run Apache Kafka.
    """
    with tempfile.TemporaryDirectory(prefix="alto-hop-") as name:
        folder = Path(name)
        with _broker(broker, folder) as (url, version):
            before = machine()
            config = settings().model_copy(update={"broker": url, "var": folder / "var"})
            latencies = asyncio.run(_run(config, folder, count, warm_up, rate, seed))
    return {
        **summary(latencies),
        "broker": version,
        "machine": before,
        "commit": commit(),
        "settings": {
            "rate_per_s": rate,
            "warm_up": warm_up,
            "seed": seed,
            "partitions": PARTITIONS,
            "fetch_max_wait_ms": config.fetch_max_wait_ms,
            "acks": "all",
        },
    }


def summary(latencies_ms: list[float]) -> dict[str, float | int]:
    """The figures of a series of latencies in milliseconds; percentiles are the inclusive ones, interpolated."""
    cuts = statistics.quantiles(latencies_ms, n=100, method="inclusive")
    figures = {"p50_ms": cuts[49], "p99_ms": cuts[98], "mean_ms": statistics.fmean(latencies_ms)}
    rounded = {name: round(value, 3) for name, value in {**figures, "max_ms": max(latencies_ms)}.items()}
    return {**rounded, "n": len(latencies_ms)}


async def _run(config: Settings, folder: Path, count: int, warm_up: int, rate: float, seed: int) -> list[float]:
    topic, out = f"hop-{uuid.uuid4().hex[:12]}", folder / "latencies"
    async with _topic(config.broker, topic), _producing(config) as app:
        with _worker(config, folder, topic, out) as process:
            await _offer(app, topic, warm_up + count, rate, random.Random(seed))
            arrived = await asyncio.to_thread(
                ping.wait_until, lambda: out.exists() or process.poll() is not None, DEADLINE_S
            )
            if not arrived or not out.exists():
                raise HopFailed(f"the worker did not report:\n{_end_of(folder)}")
    latencies = [float(line) for line in out.read_text().splitlines()]
    if len(latencies) != warm_up + count:
        raise HopFailed(f"{warm_up + count} records were sent, {len(latencies)} reached the handler")
    return latencies[warm_up:]


async def _offer(app: App, topic: str, count: int, rate: float, rng: random.Random) -> None:
    loop, deliveries = asyncio.get_running_loop(), []
    at = loop.time()
    for number in range(count):
        at += rng.expovariate(rate)
        await asyncio.sleep(at - loop.time())
        stamp = b"%d" % time.monotonic_ns()
        deliveries.append(await app.sender.enqueue(topic, None, stamp, number % PARTITIONS))
    for delivery in deliveries:
        await app.sender.delivered(delivery, topic)
    await app.sender.send(topic, None, b"end", 0)


@asynccontextmanager
async def _topic(broker: str, name: str) -> AsyncIterator[None]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers(broker))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        yield
        await admin.delete_topics([name])
    finally:
        await admin.close()


@asynccontextmanager
async def _producing(config: Settings) -> AsyncIterator[App]:
    app = new_app("alto.hop-producer", config)
    app.producer_only = True
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@contextmanager
def _worker(config: Settings, folder: Path, topic: str, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    port = free_ports(1)[0]
    env = {
        **os.environ,
        "ALTO_BROKER": config.broker,
        "ALTO_VAR": str(config.var),
        "ALTO_HOST": HOST,
        "ALTO_WORKER_PORT": str(port),
        "ALTO_FETCH_MAX_WAIT_MS": str(config.fetch_max_wait_ms),
        "ALTO_HOP_TOPIC": topic,
        "ALTO_HOP_OUT": str(out),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "faust", "-A", "loadtest.hop_worker", "worker", "--loglevel", "warn"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        up = ping.wait_until(lambda: process.poll() is not None or ping.http_answers(HOST, port, "/ready"), SETTLE_S)
        if not up or process.poll() is not None:
            raise HopFailed(f"the worker at port {port} did not become ready:\n{_end_of(folder)}")
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()


def _end_of(folder: Path) -> str:
    return (folder / "worker.log").read_text()[-2000:]


@contextmanager
def _broker(given: str | None, folder: Path) -> Iterator[tuple[str, str]]:
    if given is not None:
        yield given, f"the broker at {given}"
        return
    server = Kafka(folder / "kafka")
    try:
        server.start()
        yield server.url, f"Apache Kafka {kafka_version()}"
    finally:
        server.stop()
