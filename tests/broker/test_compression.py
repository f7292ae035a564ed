"""Topics whose records the broker compresses, as an operator may set it: all are read, or told as what it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition, codec
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from alto_streams.errors import ConfigError
from alto_streams.history.stretches import reading, records_of
from alto_streams.log import topic_admin
from alto_streams.log.tail import LogReader, consumers
from alto_streams.log.topics_file import TopicSpec
from alto_streams.settings import Settings
from alto_streams.worker.app import new_app
from tests.broker.brokers import Server
from tests.broker.faust_apps import agent, create_topics, running, settings_for, unique, until
from tests.broker.test_ends import asking, one_batch
from tests.broker.test_watchdog import LATE_S, worker

CODECS = ["gzip", "snappy", "lz4", "zstd"]
NUMBERED = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}  # as a batch says it
COUNT = 20


async def compressed(broker: Server, name: str, compression: str) -> str:
    """A topic of which the broker compresses the records; some are in it."""
    topic = unique(name)
    await create_topics(broker.url, 1, topic, **{"compression.type": compression})
    await one_batch(broker, topic, COUNT)
    return topic


async def read_all(config: Settings, topic: str) -> list[Any]:
    """As commands read the log."""
    async with reading(config, "it was read") as consumer:
        return [raw async for batch in records_of(consumer, {TopicPartition(topic, 0): 0}) for raw in batch]


async def compression_of(broker: Server, topic: str) -> int:
    """How the first batch is compressed, as the broker sends it."""
    async with asking(broker) as consumer:
        place = TopicPartition(topic, 0)
        await consumer.beginning_offsets([place])
        leader = consumer._client.cluster.leader_for_partition(place)
        answer = await consumer._client.send(leader, FetchRequest(100, 1, 1_000_000, 0, [(topic, [(0, 0, 1_000_000)])]))
        ((_, ((*_, batches),)),) = answer.topics
        return int(MemoryRecords(batches).next_batch().compression_type)


@pytest.mark.parametrize("compression", CODECS)
async def test_what_the_broker_has_compressed_is_read(compression: str, kafka: Server, tmp_path: Path) -> None:
    topic = await compressed(kafka, "packed", compression)
    assert await compression_of(kafka, topic) == NUMBERED[compression], "it has changed what was sent"
    config, tailed, worked = settings_for(kafka.url, tmp_path), list[Any](), list[Any]()
    read = await read_all(config, topic)
    reader = LogReader(consumers(config), [topic], tailed.append)
    await reader.start()
    await reader.stop()
    app = new_app(unique("packed"), config)

    @agent(app, topic)
    async def work(stream: Any) -> None:
        async for event in stream.noack().events():
            worked.append(event.value)
            event.ack()

    async with running(app):
        await until(lambda: len(worked) == COUNT, "a worker has read all")
    wanted = [b"%d" % number for number in range(COUNT)]
    assert ([raw.value for raw in read], [raw.value for raw in tailed], worked) == (wanted, wanted, wanted)


@pytest.mark.parametrize("compression", ["lz4", "zstd", "snappy"])
async def test_what_cannot_be_read_is_named_before_and_while(
    compression: str, kafka: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, other = await compressed(kafka, "unread", compression), await compressed(kafka, "unread", "gzip")
    specs = [TopicSpec(name, "none", 1) for name in (topic, other)]
    assert not [each for each in await topic_admin.check(kafka.url, specs) if each.what == "compression.type"]
    monkeypatch.setattr(codec, "cramjam", None)  # an installation without it
    (found,) = [each for each in await topic_admin.check(kafka.url, specs) if each.what == "compression.type"]
    assert (found.topic, found.found) == (topic, compression)
    assert "pip install cramjam" in str(found)
    config = settings_for(kafka.url, tmp_path)
    with pytest.raises(ConfigError, match=rf"compressed records.*{compression}.*pip install cramjam"):
        await read_all(config, topic)
    with worker("packed", topic, kafka, tmp_path) as started:
        await until(lambda: started.process.poll() is not None, "the worker ends", LATE_S)
    assert re.search(rf"compressed records, which cannot be read: .*{compression}.*pip install cramjam", started.said())
    assert started.process.returncode == 1
