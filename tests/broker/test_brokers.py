"""The servers of the tests themselves: they answer, die, come back, and Kafka keeps its log."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from alto_streams.local import ping
from tests.broker import brokers
from tests.broker.brokers import HOST, Server


async def one_topic(server: Server) -> str:
    name = f"t-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{server.port}")
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()
    return name


async def send(server: Server, topic: str, value: bytes) -> int:
    async with AIOKafkaProducer(bootstrap_servers=f"{HOST}:{server.port}") as producer:
        return int((await producer.send_and_wait(topic, value, partition=0)).offset)


async def first(server: Server, topic: str) -> bytes:
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=f"{HOST}:{server.port}", auto_offset_reset="earliest"
    ) as consumer:
        record = await asyncio.wait_for(consumer.getone(), 60)
        return bytes(record.value)


async def test_a_record_comes_back(broker: Server) -> None:
    topic = await one_topic(broker)
    assert await send(broker, topic, b"one") == 0
    assert await first(broker, topic) == b"one"


async def test_kafka_keeps_its_log_over_a_kill(kafka: Server) -> None:
    topic = await one_topic(kafka)
    await send(kafka, topic, b"kept")
    await asyncio.to_thread(kafka.kill)
    assert not kafka.alive
    assert not ping.kafka_answers(HOST, kafka.port, 0.5)
    await asyncio.to_thread(kafka.start)
    assert await first(kafka, topic) == b"kept"


def test_a_killed_server_is_alive_for_the_next_test(redis: Server) -> None:
    redis.kill()
    assert brokers.revived(redis).alive
    assert ping.redis_answers(HOST, redis.port)
    assert redis.url.endswith("/0")


def test_missing_java_is_told_at_the_end_of_the_run(tmp_path: Path) -> None:
    test = "tests/broker/test_brokers.py::test_kafka_keeps_its_log_over_a_kill"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=brokers.ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "APACHE KAFKA SCENARIOS WERE SKIPPED" in run.stdout
    assert "no `java` on the PATH" in run.stdout


def test_the_kafka_jars_given_must_hold_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "java"
    fake.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ALTO_KAFKA_JARS", str(tmp_path))
    with pytest.raises(brokers.Unavailable, match="ALTO_KAFKA_JARS"):
        brokers.kafka_jars()
