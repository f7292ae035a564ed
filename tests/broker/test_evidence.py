"""What an unclean run leaves behind: every record of every topic, readable without a broker."""

from __future__ import annotations

import json
from pathlib import Path

from aiokafka import AIOKafkaProducer

from alto_streams.parts import bootstrap_servers
from loadtest.evidence import keep_topics
from tests.broker.brokers import Server
from tests.broker.faust_apps import create_topics, unique


async def test_every_record_of_a_topic_is_kept(broker: Server, tmp_path: Path) -> None:
    topic, empty = unique("kept"), unique("empty")
    await create_topics(broker.url, 2, topic, empty)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers(broker.url)) as producer:
        for number in range(6):
            await producer.send_and_wait(topic, b"value %d" % number, b"key", partition=number % 2)
    await keep_topics(broker.url, tmp_path / "topics")
    kept = [json.loads(line) for line in (tmp_path / "topics" / f"{topic}.jsonl").read_text().splitlines()]
    assert sorted((partition, offset, key, value) for _, partition, offset, key, value in kept) == [
        (number % 2, number // 2, "key", f"value {number}") for number in (0, 2, 4, 1, 3, 5)
    ]
    assert kept == sorted(kept, key=lambda row: row[0])
    assert (tmp_path / "topics" / f"{empty}.jsonl").read_text() == ""
