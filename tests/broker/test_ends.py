"""What readers ask of a broker before they read: the ends, at once, and the same on each of them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from alto_streams.agents.scheduler import plan_feed
from alto_streams.agents.scheduler.plan_feed import PlanFeed
from alto_streams.history.stretches import places, reading, records_of, starts_since
from alto_streams.log.consumer import LogConsumer
from alto_streams.log.tail import LogReader, consumers
from alto_streams.parts import bootstrap_servers
from alto_streams.tables.store import RowTable
from alto_streams.worker.app import App, new_app
from alto_streams.worker.broker_offsets import BrokerOffsets
from tests.broker.brokers import Server
from tests.broker.faust_apps import agent, create_topics, running, settings_for, unique, until

SOON_S = 2.0  # a reader waits 5 s for records of a quiet topic: an answer behind that wait comes later


@asynccontextmanager
async def asking(broker: Server) -> AsyncIterator[LogConsumer]:
    consumer = LogConsumer(bootstrap_servers=bootstrap_servers(broker.url), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def one_batch(broker: Server, topic: str, count: int, partition: int = 0) -> int:
    """Appends so many records as one batch; the offset of the last."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers(broker.url)) as producer:
        batch = producer.create_batch()
        for number in range(count):
            assert batch.append(key=b"%d" % number, value=b"%d" % number, timestamp=None) is not None
        done = await (await producer.send_batch(batch, topic, partition=partition))
        return int(done.offset) + count - 1


@pytest.mark.parametrize("batches", [[10], [1, 5], [3, 1, 7]])
async def test_an_end_is_behind_the_last_record_of_the_last_batch(broker: Server, batches: list[int]) -> None:
    topic = unique("ends")
    await create_topics(broker.url, 2, topic)
    for count in batches:
        last = await one_batch(broker, topic, count, 1)
    async with asking(broker) as consumer:
        places = await consumer.places(topic)
        assert await consumer.end_offsets(places) == {places[0]: 0, places[1]: last + 1}


@pytest.mark.parametrize("filled", [set[int](), {1}, {0, 1, 2}])
async def test_a_reader_is_at_the_end_at_once_whatever_is_empty(
    broker: Server, tmp_path: Path, filled: set[int]
) -> None:
    topic, other, taken = unique("tail"), unique("tail"), list[bytes]()
    await create_topics(broker.url, 3, topic, other)
    for partition in filled:
        await one_batch(broker, topic, 10, partition)
    reader = LogReader(consumers(settings_for(broker.url, tmp_path)), [topic, other], lambda each: taken.append(each))
    began = time.monotonic()
    await reader.start()
    try:
        assert time.monotonic() - began < SOON_S
        assert len(taken) == 10 * len(filled), "a batch is whole, also the last"
        await one_batch(broker, other, 4, 2)
        await until(lambda: len(taken) == 10 * len(filled) + 4, "it follows every partition")
    finally:
        await reader.stop()


async def test_a_plan_that_nobody_has_made_is_not_waited_for(
    broker: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = unique("plans")
    monkeypatch.setattr(plan_feed, "plans_topic", lambda: topic)
    await create_topics(broker.url, 1, topic)
    feed, began = PlanFeed.of(settings_for(broker.url, tmp_path), ["chat"], lambda plan: None), time.monotonic()
    with caplog.at_level(logging.WARNING, "alto_streams"):
        await feed.start()
    try:
        assert time.monotonic() - began < SOON_S
        assert not [record for record in caplog.records if record.name.startswith("alto_streams")]
    finally:
        await feed.stop()


async def test_a_topic_that_is_not_there_is_named(
    broker: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic, taken = unique("late"), list[Any]()
    reader = LogReader(consumers(settings_for(broker.url, tmp_path)), [topic], taken.append)
    reader.begin()
    try:
        await until(lambda: f"topic {topic} does not exist" in caplog.text, "it says so")
        await create_topics(broker.url, 1, topic)
        await one_batch(broker, topic, 3)
        await until(lambda: len(taken) == 3, "and reads it once it is there")
    finally:
        await reader.stop()


async def test_the_lag_counts_every_record_of_a_batch(broker: Server) -> None:
    topic = unique("lag")
    await create_topics(broker.url, 1, topic)
    await one_batch(broker, topic, 7)
    offsets, place = BrokerOffsets(broker.url, unique("group")), TopicPartition(topic, 0)
    try:
        assert await offsets.lags([place]) == {place: 7}
        assert await offsets.lags([place], lambda tp: 5) == {place: 2}
    finally:
        await offsets.close()


async def test_rows_of_the_last_batch_are_recovered(broker: Server, tmp_path: Path) -> None:
    app_id, topic = unique("rows"), unique("rows-src")
    changelog = f"{app_id}-rows-changelog"
    await create_topics(broker.url, 1, topic)
    await create_topics(broker.url, 1, changelog, **{"cleanup.policy": "compact"})

    def worker() -> tuple[App, RowTable]:
        app = new_app(app_id, settings_for(broker.url, tmp_path, fetch_max_wait_ms=15))
        rows = RowTable(app, "rows")

        @agent(app, topic)
        async def hold(stream: Any) -> None:
            async for event in stream.noack().events():
                event.ack()

        return app, rows

    names = [f"r{number}" for number in range(40)]
    first, rows = worker()
    async with running(first):
        await until(lambda: rows.active == {0}, "active")
        await rows.put_many(0, [(name, 0, name.encode()) for name in names])  # what is put at once comes in few batches
    second, again = worker()
    async with running(second):
        await until(lambda: again.active == {0}, "active")
        assert [name for name in names if again.get(0, name) is None] == []


@pytest.mark.parametrize("when", ["before", "between", "after"])
async def test_a_search_for_a_time_leaves_nothing_out(broker: Server, tmp_path: Path, when: str) -> None:
    """What the embedded broker answers goes by arrival, so it may begin too early, and never too late."""
    topic = unique("times")
    await create_topics(broker.url, 1, topic)
    marks = [int(time.time() * 1000) - 60_000]
    for _ in range(2):
        await one_batch(broker, topic, 5)
        await until(lambda: time.time() * 1000 > marks[-1] + 60_000 * (len(marks) == 1) + 50, "time passes")
        marks.append(int(time.time() * 1000) + 10)
        await until(lambda: time.time() * 1000 > marks[-1] + 10, "time passes")
    at_ms = {"before": marks[0], "between": marks[1], "after": marks[2] + 60_000}[when]
    wanted = {"before": range(10), "between": range(5, 10), "after": range(0)}[when]
    async with reading(settings_for(broker.url, tmp_path), "it was read") as consumer:
        starts = await starts_since(consumer, await places(consumer, topic), at_ms)
        found = [raw async for records in records_of(consumer, starts) for raw in records]
    assert [raw.offset for raw in found if raw.timestamp >= at_ms] == list(wanted)
    assert (when == "after") == (not found)


async def test_a_topic_made_anew_is_told(tansu: Server, caplog: pytest.LogCaptureFixture) -> None:
    topic, group = unique("anew"), unique("group")
    await create_topics(tansu.url, 1, topic)
    place = TopicPartition(topic, 0)
    await one_batch(tansu, topic, 9)
    admin, offsets = (
        AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers(tansu.url)),
        BrokerOffsets(tansu.url, group),
    )
    await admin.start()
    try:
        assert await offsets.lags([place], lambda tp: 9) == {place: 0}
        assert "made anew" not in caplog.text
        await admin.delete_topics([topic])
        await create_topics(tansu.url, 1, topic)
        await one_batch(tansu, topic, 2)
        for _ in range(2):
            await offsets.lags([place], lambda tp: 9)
        assert caplog.text.count(f"has read {topic}-0 up to 9, and it ends at 2: the topic was made anew") == 1
    finally:
        await offsets.close()
        await admin.close()
