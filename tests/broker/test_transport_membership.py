"""How a worker belongs to its group: leaving it, the assignor it uses, how long it polls, a broker that comes late."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from faust.assignor.partition_assignor import PartitionAssignor

from alto_streams.errors import ConfigError
from alto_streams.log.transport import Consumer
from alto_streams.parts import bootstrap_servers
from alto_streams.worker.app import new_app
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import Server, Tansu
from tests.broker.faust_apps import (
    KINDS,
    SESSION_S,
    agent,
    create_topics,
    make_app,
    running,
    settings_for,
    unique,
    until,
)


async def members(url: str, group: str) -> int:
    """How many members the coordinator has for a group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers(url))
    await admin.start()
    try:
        (response,) = await admin.describe_consumer_groups([group])
        return len(response.groups[0][5])
    finally:
        await admin.close()


def idle_agent(app: Any, topic: str) -> None:
    """An agent that finishes everything at once."""

    @agent(app, topic)
    async def finish(stream: Any) -> None:
        async for event in stream.noack().events():
            event.ack()


@KINDS
async def test_a_static_member_leaves_when_it_stops(kind: str, kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("static"), unique("static-src")
    await create_topics(kafka.url, 2, topic)
    app = make_app(kind, app_id, settings_for(kafka.url, tmp_path, group_instance_id="one"))
    idle_agent(app, topic)
    async with running(app):
        await until(lambda: len(app.consumer.assignment()) == 2, "assigned")
        assert await members(kafka.url, app_id) == 1
    left = await members(kafka.url, app_id)
    if kind == "stock":
        assert left == 1, "stock Faust's static member stays, and holds its partitions for the session timeout"
    else:
        assert left == 0
    assert (tmp_path / "workers" / f"{app_id}-one").is_dir(), "the folder is named by the instance, and used again"


async def test_a_fetch_does_not_hold_up_the_revocation_that_waits_for_it(
    kafka: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka tells of the revocation late, and records are asked for meanwhile."""
    tell = Consumer.on_partitions_revoked
    told_late = 0

    async def tell_late(self: Any, revoked: set[Any]) -> None:
        nonlocal told_late
        self._thread.wake()
        for _ in range(100):  # the fetching task runs, and asks again
            await asyncio.sleep(0)
        told_late += 1
        await tell(self, revoked)

    monkeypatch.setattr(Consumer, "on_partitions_revoked", tell_late)
    app_id, topic = unique("held"), unique("held-src")
    await create_topics(kafka.url, 2, topic)
    one, two = (make_app("ours", app_id, settings_for(kafka.url, tmp_path / name)) for name in ("one", "two"))
    for app in (one, two):
        idle_agent(app, topic)
    async with running(one):
        await until(lambda: len(one.consumer.assignment()) == 2, "assigned")
        async with running(two):
            await until(lambda: [len(app.consumer.assignment()) for app in (one, two)] == [1, 1], "shared", SESSION_S)
    assert told_late


@KINDS
async def test_our_assignor_counts_without_tables(kind: str, kafka: Server, tmp_path: Path) -> None:
    asked: list[int] = []

    class Recording(PartitionAssignor):  # type: ignore[misc]
        def assign(self, cluster: Any, member_metadata: Any) -> Any:
            asked.append(len(member_metadata))
            return super().assign(cluster, member_metadata)

    app_id, topic = unique("assignor"), unique("assignor-src")
    await create_topics(kafka.url, 2, topic)
    settings = settings_for(kafka.url, tmp_path)
    app = make_app(kind, app_id, settings, PartitionAssignor=Recording, table_standby_replicas=0)
    idle_agent(app, topic)
    async with running(app):
        await until(lambda: len(app.consumer.assignment()) == 2, "assigned")
    if kind == "stock":
        assert asked == [], "stock Faust uses round robin when it has no tables and no standbys"
    else:
        assert asked == [1]


@KINDS
async def test_the_fetch_wait_is_a_setting(kind: str, tansu: Server, tmp_path: Path) -> None:
    app_id, topic = unique("fetch"), unique("fetch-src")
    await create_topics(tansu.url, 1, topic)
    settings = settings_for(tansu.url, tmp_path, fetch_max_wait_ms=5, session_timeout_s=2.0)
    app = make_app(kind, app_id, settings)
    hops: list[float] = []

    @agent(app, topic)
    async def measure(stream: Any) -> None:
        async for event in stream.noack().events():
            hops.append(time.monotonic() - float(event.value))
            event.ack()

    async with running(app):
        await until(lambda: len(app.consumer.assignment()) == 1, "assigned")
        for _ in range(4 if kind == "stock" else 9):  # a second each in stock Faust
            seen = len(hops)
            await (await app.producer.send(topic, None, b"%f" % time.monotonic(), 0, None, None))
            await until(lambda seen=seen: len(hops) > seen, "delivered")  # type: ignore[misc]
    if kind == "stock":
        median_ms = statistics.median(hops[1:]) * 1000
        assert median_ms > 150, "stock Faust asks Tansu to wait for 1.5 s, and Tansu does not wake such a poll"
    else:
        assert min(hops[1:]) * 1000 < 50, "a busy machine delays some of them, a poll that waits delays all"


async def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    late = Tansu("late", tmp_path / "late")
    app = new_app(unique("late"), settings_for(late.url, tmp_path))
    app.producer_only = True
    async with running():
        starting = asyncio.create_task(app.start())
        try:
            await until(lambda: "cannot be reached" in caplog.text, "says so")
            record = next(record for record in caplog.records if "cannot be reached" in record.getMessage())
            assert f"127.0.0.1:{late.port}" in record.getMessage()
            assert "ALTO_BROKER" in record.getMessage()
            assert record.levelno == logging.WARNING
            assert not starting.done()
            await asyncio.to_thread(late.start)
            await asyncio.wait_for(starting, 60)
        finally:
            starting.cancel()
            await app.stop()
            late.stop()
    assert not [record for record in caplog.records if record.exc_info], "no stack trace"


async def test_a_worker_that_has_not_connected_yet_owns_nothing(tmp_path: Path) -> None:
    """Faust asks every second from the start on; the thread that connects may take longer."""
    app = new_app(unique("early"), settings_for("kafka://127.0.0.1:1", tmp_path))
    assert app.consumer.assignment() == set()
    assert app.consumer.sources() == set()


async def test_metrics_are_served_and_a_taken_port_is_named(kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("metrics"), unique("metrics-src")
    await create_topics(kafka.url, 1, topic)
    app = new_app(app_id, settings_for(kafka.url, tmp_path, worker_port=free_ports(1)[0]))
    idle_agent(app, topic)
    await app.on_started_init_web_server()
    async with running(app):
        url = f"http://127.0.0.1:{app.conf.web_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
            assert "alto_" in await response.text()
        with pytest.raises(ConfigError, match=rf"port {app.conf.web_port} on 127\.0\.0\.1 is in use.*ALTO_WORKER_PORT"):
            new_app(unique("taken"), settings_for(kafka.url, tmp_path, worker_port=app.conf.web_port))
