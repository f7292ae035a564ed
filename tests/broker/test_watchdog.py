"""A worker that has stalled ends, and says why; one that is idle, or waits for another part, is left alone."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from alto_streams.errors import PartDown
from alto_streams.log import topic_admin
from alto_streams.log.topics_file import load_topics
from alto_streams.parts import bootstrap_servers
from alto_streams.wire.records import Call, Event, EventKind, Home, Raw, Work, encode
from alto_streams.wire.request_ids import new_request_id
from alto_streams.worker import broker_offsets
from alto_streams.worker.broker_offsets import BrokerOffsets
from alto_streams.worker.tcp_ports import free_ports
from alto_streams.worker.watch import EXIT_STALLED
from tests.broker.brokers import HOST, ROOT, Server
from tests.broker.faust_apps import create_topics, unique, until
from tests.e2e.systems import Process, environment, process

LATE_S = 60.0
SOON = {
    "ALTO_WATCHDOG_S": "4",
    "ALTO_SILENCE_S": "1",
    "ALTO_SESSION_TIMEOUT_S": "6",
    "ALTO_HEARTBEAT_S": "0.5",
    "ALTO_FETCH_MAX_WAIT_MS": "100",
}


def own_port() -> dict[str, str]:
    """A worker takes any port by itself, which a connection may have before it listens there."""
    return {"ALTO_WORKER_PORT": str(free_ports(1)[0])}


class Worker:
    """A process of `stalling_worker`."""

    def __init__(self, stalls: str, topic: str, broker: Server, folder: Path) -> None:
        self.group, self.log = f"{topic}-{stalls}", folder / f"{stalls}.log"
        more = {"ALTO_BROKER": broker.url, "ALTO_VAR": str(folder / stalls), "STALLS": stalls, "TOPIC": topic, **SOON}
        more |= own_port()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "faust", "-A", "tests.broker.stalling_worker", "worker"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment(more),
            )

    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def worker(stalls: str, topic: str, broker: Server, folder: Path) -> Iterator[Worker]:
    started = Worker(stalls, topic, broker, folder)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


async def append(broker: Server, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers(broker.url), acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
    finally:
        await producer.stop()


async def until_committed(broker: Server, each: Worker, topic: str, offset: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers(broker.url), group_id=each.group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        async with asyncio.timeout(LATE_S):
            while await consumer.committed(TopicPartition(topic, 0)) != offset:
                assert each.process.poll() is None, each.said()
                await asyncio.sleep(0.1)
    finally:
        await consumer.stop()


async def test_a_worker_that_stalls_ends_and_one_that_is_idle_does_not(broker: Server, tmp_path: Path) -> None:
    topic = unique("stalls")
    await create_topics(broker.url, 1, topic)
    with ExitStack() as stack:
        hangs, blocked, unfetched, sound = (
            stack.enter_context(worker(stalls, topic, broker, tmp_path))
            for stalls in ("hang", "block", "unfetched", "not")
        )
        await append(broker, topic, b"1")
        for each in (hangs, blocked, unfetched, sound):
            await until_committed(broker, each, topic, 1)
        await append(broker, topic, b"2", b"3")
        await until_committed(broker, sound, topic, 3)
        for each in (hangs, blocked, unfetched):
            await until(lambda: each.process.poll() is not None, f"{each.group} ends", LATE_S)  # noqa: B023
        assert sound.process.poll() is None, "it has been idle for as long"
        await append(broker, topic, b"4")
        await until_committed(broker, sound, topic, 4)
    assert hangs.process.returncode == 1, "a clean crash"
    assert "hang has stalled: nothing has moved for" in hangs.said()
    assert "handed to it and are not finished; its event loop answers" in hangs.said()
    assert re.search(r"its own tasks wait at: .*handle at stalling_worker\.py:\d+", hangs.said())
    assert blocked.process.returncode == EXIT_STALLED
    assert "its event loop is blocked" in blocked.said()
    assert "it could not end by itself" in blocked.said()
    assert unfetched.process.returncode == 1
    assert "2 records wait" in unfetched.said()
    assert "it has fetched none of them" in unfetched.said()


def told_twice(started: Process, what: str) -> bool:
    assert started.runs, started.said()
    return started.said().count(what) > 1


async def test_a_worker_that_waits_for_its_engine_or_for_redis_is_left_alone(kafka: Server, tmp_path: Path) -> None:
    await topic_admin.apply(kafka.url, load_topics(None).specs)
    ports = free_ports(2)
    engine, redis = f"http://{HOST}:{ports[0]}/v1", f"redis://{HOST}:{ports[1]}"
    env = {"ALTO_BROKER": kafka.url, "ALTO_MODELS": f"judge=openai:{engine}#none", "ALTO_REDIS": redis, **SOON}
    work = Work(new_request_id(), "claims", "0", 1, Home("chunks.factcheck.claims", 0), "judge", Call([], 10))
    event = Event(work.request, EventKind.CHUNK, "answer", "", 0, 0, Raw(b"{}"))
    await append(kafka, "work.factcheck.claims", encode(work))
    await append(kafka, "results.factcheck", encode(event))
    with (
        process("judge", ["worker", "--model", "judge"], tmp_path, env | own_port()) as judge,
        process("egress", ["worker", "--egress"], tmp_path, env | own_port()) as egress,
    ):
        for started, part in ((judge, engine), (egress, redis)):
            waits = "is left alone, for it waits: "
            told = partial(told_twice, started, waits)
            await until(told, "told twice, its patience apart", LATE_S)
            assert all(part in line for line in started.said().splitlines() if waits in line)
            assert "has stalled" not in started.said()
        egress.kill()  # asked to end, it would first wait for what it has begun


async def test_how_far_a_group_is_behind_is_the_brokers_word(broker: Server) -> None:
    topic = unique("behind")
    await create_topics(broker.url, 2, topic)
    tps = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    offsets = BrokerOffsets(broker.url, unique("behind-group"))
    try:
        assert await offsets.lags([]) == {}
        assert list((await offsets.lags(tps)).values()) == [0, 0]
        await append(broker, topic, *[b"%d" % each for each in range(5)])
        assert (await offsets.lags(tps))[tps[0]] == 5
        assert (await offsets.lags(tps, {tps[0]: 3}.get))[tps[0]] == 2
        assert (await offsets.lags(tps, {tps[0]: 9}.get))[tps[0]] == 0
    finally:
        await offsets.close()


async def test_its_connections_are_closed_though_the_stop_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does where the broker hangs."""
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    monkeypatch.setattr(broker_offsets, "ANSWER_S", 0.01)
    offsets = BrokerOffsets(f"kafka://{HOST}:1", "some-group")
    hung = SimpleNamespace(stop=asyncio.Event().wait, _client=SimpleNamespace(close=close))
    offsets._consumer = hung  # type: ignore[assignment]
    await offsets.close()
    assert closed.is_set()


async def test_a_broker_that_does_not_answer_is_named() -> None:
    nowhere = f"kafka://{HOST}:{free_ports(1)[0]}"
    with pytest.raises(PartDown, match=f"the broker at {nowhere}: .*some-group"):
        await BrokerOffsets(nowhere, "some-group").lags([TopicPartition("some-topic", 0)])
