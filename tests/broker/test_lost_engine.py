"""An LM worker is killed in the middle of its calls: it is planned away in time, and its calls end elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from alto_streams.agents.scheduler.load_records import read_load
from alto_streams.agents.scheduler.plan_feed import PlanFeed
from alto_streams.local.cluster import environment
from alto_streams.local.ping import http_answers
from alto_streams.parts import bootstrap_servers
from alto_streams.wire.plans import Load, Plan
from alto_streams.wire.records import encode
from alto_streams.wire.redis_keys import load_key
from alto_streams.wire.topic_names import plan_key, plans_topic
from alto_streams.worker.tcp_ports import free_ports
from loadtest.drive import offer
from loadtest.kafka import Unavailable
from loadtest.reference.pipeline import RECORDING
from loadtest.reference.workload import load_workload
from loadtest.servers import HOST
from loadtest.systems import System, system
from tests.broker.faust_apps import until
from tests.e2e.systems import ROWS, Process, process

PIPELINE, MODEL = "loadtest.reference.pipeline", "lm"
SESSION_S = 6.0
RATE, COUNT = 1.5, 15  # requests a second, of some ten calls each: all three engines have work meanwhile
START_S = 90.0
BUSY_S = 3.0  # after the session; on an idle machine it is within 1 s (docs/performance.md)


async def test_a_lost_engine_is_planned_away_in_time_and_no_request_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECORDING, str(ROWS))
    models = {MODEL: f"scripted:{ROWS}?timing=reference"}
    try:
        async with system(
            *(tmp_path, PIPELINE, models), workers=1, lm_workers=2, session_timeout_s=SESSION_S, heartbeat_s=0.5
        ) as running:
            port = free_ports(1)[0]
            env = environment(running.settings) | {"ALTO_WORKER_PORT": str(port), RECORDING: str(ROWS)}
            with process("lm-doomed", ["worker", "--model", MODEL], tmp_path, env) as doomed:  # nobody restarts it
                await _lose(running, doomed, f"http://{HOST}:{port}")
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")


async def _lose(running: System, doomed: Process, worker: str) -> None:
    others = [address for part, address in running.addresses.items() if part.startswith(f"lm-{MODEL}")]
    feed = PlanFeed.of(running.settings, [MODEL], lambda plan: None)
    await feed.start()
    try:
        port = urlsplit(worker).port or 0
        await until(lambda: http_answers(HOST, port, "/ready"), "the worker has started", START_S)
        await _publish(running, _all_alike(sorted([worker, *others])))
        await _until_load(running, worker, lambda load: bool(load.owned))
        offering = asyncio.create_task(offer(running.gateway, load_workload(ROWS), RATE, COUNT, seed=3))
        await _until_load(running, worker, lambda load: load.running >= 2)
        planned = feed.plans[MODEL].version
        doomed.kill()
        killed_ms = time.time() * 1000
        await until(lambda: feed.plans[MODEL].version > planned, "a plan without it", START_S)
        plan = feed.plans[MODEL]
        assert plan.cause == f"lost {worker}"
        assert {owner for owners in plan.owners.values() for owner in owners} == set(others)
        assert plan.at_ms - killed_ms <= 1000 * (SESSION_S + BUSY_S)
        samples = await asyncio.wait_for(offering, START_S)
    finally:
        await feed.stop()
    assert len(samples) == COUNT
    lost = [
        each for each in samples if each.error or each.done_s is None or each.missing or each.wrong or each.repeated
    ]
    assert lost == []


def _all_alike(workers: list[str]) -> Plan:
    names = [f"reference.{stage}" for stage in ("answer", "claims", "queries", "verdict")]
    owners = dict.fromkeys(names, (workers * 24)[:24])
    weights = {name: dict.fromkeys(workers, 1 / len(workers)) for name in names}
    return Plan(MODEL, 1, int(time.time() * 1000), "by hand", owners, weights, dict.fromkeys(workers, 1.0))


async def _publish(running: System, plan: Plan) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers(running.settings.broker)) as producer:
        await producer.send_and_wait(plans_topic(), encode(plan), plan_key(MODEL).encode())


async def _until_load(running: System, worker: str, good: Callable[[Load], bool]) -> None:
    """Until the worker says in Redis that this is what it holds."""
    async with asyncio.timeout(START_S), Redis.from_url(running.settings.redis) as client:
        while True:
            value = await client.hget(load_key(MODEL), worker)
            load = None if value is None else read_load(value)
            if load is not None and good(load):
                return
            await asyncio.sleep(0.05)
