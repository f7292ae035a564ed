"""Tansu, Valkey and the topics of one machine, started and stopped by the supervisor."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from alto_streams.define.loading import load_pipelines
from alto_streams.errors import PartFailed, PortInUse
from alto_streams.local import servers
from alto_streams.local.cluster import local_cluster, on_free_ports
from alto_streams.local.supervisor import Supervisor
from alto_streams.log import topic_admin
from alto_streams.log.topics_file import load_topics
from alto_streams.settings import Settings
from tests.broker.brokers import Server

SERVERS = {"tansu", "valkey", "topics"}


async def test_servers_and_topics_come_up_and_go(tmp_path: Path) -> None:
    topics = load_topics()
    cluster = local_cluster(
        on_free_ports(Settings(_env_file=None)),  # type: ignore[call-arg]
        load_pipelines(["alto_streams.pipelines.factcheck"]),
        topics,
    )
    parts = [part for part in cluster.parts if part.name in SERVERS]
    assert len(parts) == 3
    async with Supervisor(parts, tmp_path) as supervisor:
        assert await topic_admin.check(cluster.settings.broker, load_topics(cluster.settings.topics_file).specs) == []
        pids = supervisor.pids
    assert not any(part.ready() for part in parts if part.command)
    assert set(pids) == {"tansu", "valkey"}


async def test_a_dead_broker_ends_the_system_with_its_name(tmp_path: Path) -> None:
    config = on_free_ports(Settings(_env_file=None))  # type: ignore[call-arg]
    async with Supervisor([servers.tansu(config.broker)], tmp_path) as supervisor:
        os.kill(supervisor.pids["tansu"], signal.SIGKILL)
        with pytest.raises(PartFailed, match=f"tansu at {config.broker} was ended by signal 9. It keeps its topics"):
            await supervisor.wait()


async def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path, tansu: Server, redis: Server) -> None:
    with pytest.raises(PortInUse, match=rf"Tansu.*{tansu.port}.*in use by tansu.*ALTO_BROKER"):
        await Supervisor([servers.tansu(tansu.url)], tmp_path).__aenter__()
    with pytest.raises(PortInUse, match=rf"Valkey.*{redis.port}.*in use by .*ALTO_REDIS"):
        await Supervisor([servers.valkey(redis.url)], tmp_path).__aenter__()
