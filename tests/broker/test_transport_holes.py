"""Several producers at once on one partition: whoever reads its tail misses nothing, whatever is shown first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from alto_streams.parts import bootstrap_servers
from tests.broker.brokers import Server
from tests.broker.faust_apps import agent, create_topics, make_app, running, settings_for, unique, until

PRODUCERS, RECORDS = 8, 1_500


async def produce(url: str, topic: str, name: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers(url), acks="all", linger_ms=0)
    await producer.start()
    try:
        for number in range(RECORDS):
            await producer.send_and_wait(topic, b"%d-%d" % (name, number), partition=number % 2)
    finally:
        await producer.stop()


async def test_the_tail_of_a_busy_partition_is_read_without_holes(tansu: Server, tmp_path: Path) -> None:
    topic = unique("busy")
    await create_topics(tansu.url, 2, topic)
    settings = settings_for(tansu.url, tmp_path, session_timeout_s=2.0, fetch_max_wait_ms=15)
    app = make_app("ours", unique("tail"), settings)
    seen: set[bytes] = set()
    started = asyncio.Event()

    @agent(app, topic)
    async def read(stream: Any) -> None:
        started.set()
        async for event in stream.noack().events():
            seen.add(event.message.value)
            event.ack()

    async with running(app):
        await started.wait()
        await asyncio.gather(*(produce(tansu.url, topic, name) for name in range(PRODUCERS)))
        wanted = {b"%d-%d" % (name, number) for name in range(PRODUCERS) for number in range(RECORDS)}
        await until(lambda: seen == wanted, f"all {len(wanted)} records read", 20.0)
