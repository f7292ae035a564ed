"""Rows on real Apache Kafka: a zombie's late write, recovery, deletes, and who may write."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from alto_streams.errors import Fenced
from alto_streams.log.transport import Consumer
from alto_streams.parts import bootstrap_servers
from alto_streams.tables.store import Put, RowTable
from alto_streams.tables.versions import Row, decode_key, encode_key, encode_value
from alto_streams.worker.app import App, new_app
from tests.broker.brokers import Server
from tests.broker.faust_apps import agent, create_topics, make_app, running, settings_for, unique, until


async def write(url: str, topic: str, key: bytes, *values: bytes) -> None:
    """What a zombie does that has passed its last check: its records reach the log late."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers(url))
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, key=key, partition=0)
    finally:
        await producer.stop()


async def log_of(url: str, topic: str) -> list[tuple[bytes, bytes | None]]:
    """Every record of partition 0."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap_servers(url), auto_offset_reset="earliest")
    await consumer.start()
    try:
        (tp,) = consumer.assignment()
        end = (await consumer.end_offsets([tp]))[tp]
        records: list[tuple[bytes, bytes | None]] = []
        while await consumer.position(tp) < end:
            batch = await consumer.getmany(tp, timeout_ms=1_000)
            records += [(record.key, record.value) for record in batch.get(tp, [])]
        return records
    finally:
        await consumer.stop()


class Owner:
    """A worker with rows, and an agent that leaves everything to the test."""

    def __init__(self, url: str, folder: Path, app_id: str, topic: str, **options: Any) -> None:
        self.app: App = new_app(app_id, settings_for(url, folder))
        self.active: list[frozenset[int]] = []
        self.lost: list[frozenset[int]] = []
        self.seen: list[Any] = []
        self.rows = RowTable(self.app, "rows", on_active=self.on_active, on_lost=self.lost.append, **options)

        @agent(self.app, topic)
        async def hold(stream: Any) -> None:
            async for event in stream.noack().events():
                assert event.message.partition in self.rows.active, "no record before its rows"
                self.seen.append(event)
                event.ack()

    async def on_active(self, partitions: frozenset[int]) -> None:
        self.active.append(partitions)

    async def wait(self, partitions: int) -> None:
        await until(lambda: len(self.rows.active) == partitions, f"{partitions} partitions active")
        await until(lambda: self.rows.active <= self.told, "it has been told of them")

    @property
    def told(self) -> frozenset[int]:
        """Every partition that it was told of: their rows have been cleaned then."""
        return frozenset[int]().union(*self.active)


async def test_a_zombies_late_write_wins_in_a_stock_table(kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("stock"), unique("stock-src")
    changelog = f"{app_id}-rows-changelog"
    await create_topics(kafka.url, 1, topic)
    await create_topics(kafka.url, 1, changelog, **{"cleanup.policy": "compact"})

    def worker() -> tuple[Any, Any]:
        app = make_app("stock", app_id, settings_for(kafka.url, tmp_path))
        table = app.Table("rows", key_type=bytes, value_type=bytes, partitions=1)

        @agent(app, topic)
        async def store(stream: Any) -> None:
            async for event in stream.events():
                table[event.key] = event.value

        return app, table

    first, table = worker()
    async with running(first):
        await until(lambda: bool(first.consumer.assignment()) and not first.rebalancing, "ready")
        await (await first.producer.send(topic, b"k", b"new", 0, None, None))
        await until(lambda: b"k" in table, "stored")
        await first.producer.flush()
    await write(kafka.url, changelog, b"k", b"zombie")
    second, table = worker()
    async with running(second):
        await until(lambda: b"k" in table and not second.rebalancing, "recovered")
        assert table[b"k"] == b"zombie", "in a stock table the last write wins"


async def test_a_zombies_late_write_loses_here(kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("rows"), unique("rows-src")
    await create_topics(kafka.url, 1, topic)
    await create_topics(kafka.url, 1, f"{app_id}-rows-changelog", **{"cleanup.policy": "compact"})
    first = Owner(kafka.url, tmp_path, app_id, topic)
    async with running(first.app):
        await first.wait(1)
        old = first.rows.generation
        await first.rows.put_many(0, [Put("k", 4, b"old"), Put("gone", 4, b"x")], old)
        assert first.rows.get(0, "k") == Row(4, old, b"old")
    second = Owner(kafka.url, tmp_path, app_id, topic)
    async with running(second.app):
        await second.wait(1)
        new = second.rows.generation
        assert new > old
        assert second.rows.get(0, "k") == Row(4, old, b"old"), "read back"
        await second.rows.put_many(0, [Put("k", 9, b"new"), Put("gone", 9, None)])
        assert second.rows.get(0, "gone") is None
        with pytest.raises(Fenced, match=f"generation {old}"):
            await second.rows.put_many(0, [Put("k", 10, b"late")], old)
    with pytest.raises(Fenced):
        await second.rows.put_many(0, [Put("k", 10, b"after the stop")], old)
    await write(kafka.url, second.rows.topic, encode_key("k", old), encode_value(5, b"zombie"))
    third = Owner(kafka.url, tmp_path, app_id, topic)
    async with running(third.app):
        await third.wait(1)
        newest = third.rows.generation
        assert dict(third.rows.items(0)) == {"k": Row(9, newest, b"new")}, "written anew before the losers are buried"
        assert third.active == [frozenset({0})]
    left = dict(await log_of(kafka.url, third.rows.topic))
    kept = {decode_key(key) for key, value in left.items() if value is not None}
    assert kept == {("k", newest)}, "losers are buried on recovery, and a delete buries every generation"


async def test_expired_rows_are_dropped_on_recovery(kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("old"), unique("old-src")
    await create_topics(kafka.url, 1, topic)
    await create_topics(kafka.url, 1, f"{app_id}-rows-changelog", **{"cleanup.policy": "compact"})
    first = Owner(kafka.url, tmp_path, app_id, topic)
    async with running(first.app):
        await first.wait(1)
        await first.rows.put_many(0, [Put("old", 1, b"x"), Put("young", 2, b"y")])
    second = Owner(kafka.url, tmp_path, app_id, topic, expired=lambda key: key == "old")
    async with running(second.app):
        await second.wait(1)
        assert [key for key, _ in second.rows.items(0)] == ["young"]


async def test_rows_move_with_their_partitions(kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("move"), unique("move-src")
    await create_topics(kafka.url, 4, topic)
    await create_topics(kafka.url, 4, f"{app_id}-rows-changelog", **{"cleanup.policy": "compact"})
    first, second = (Owner(kafka.url, tmp_path, app_id, topic) for _ in range(2))
    async with running(first.app):
        await first.wait(4)
        for partition in range(4):
            await first.rows.put_many(partition, [Put(f"row{partition}", 1, b"x")])
        async with running(second.app):
            await until(lambda: len(first.rows.active) == len(second.rows.active) == 2, "shared")
            await second.wait(2)
            assert first.rows.active | second.rows.active == {0, 1, 2, 3}
            for owner in (first, second):
                for partition in owner.rows.active:
                    assert [key for key, _ in owner.rows.items(partition)] == [f"row{partition}"]
            assert first.lost == [second.rows.active]
            assert second.active == [second.rows.active]
            moved = min(second.rows.active)
            with pytest.raises(Fenced, match=f"changelog-{moved} is not this worker's"):
                await first.rows.put_many(moved, [Put("k", 2, b"zombie")])
            for partition in range(4):
                await first.app.sender.send(topic, b"k", b"v", partition)
            await until(lambda: len(first.seen) == len(second.seen) == 2, "each its own records")
        await first.wait(4)
        assert [key for key, _ in first.rows.items(moved)] == [f"row{moved}"]


async def test_no_record_is_lost_while_its_offsets_are_sought(
    kafka: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is slow to tell what is committed. Faust empties its queues when it goes on after that."""
    seek = Consumer.perform_seek

    async def seek_late(self: Any) -> None:
        await asyncio.sleep(0.5)
        await seek(self)
        await asyncio.sleep(0.5)

    monkeypatch.setattr(Consumer, "perform_seek", seek_late)
    app_id, topic = unique("sought"), unique("sought-src")
    await create_topics(kafka.url, 1, topic)
    await create_topics(kafka.url, 1, f"{app_id}-rows-changelog", **{"cleanup.policy": "compact"})
    # A row to be read back, so that the fetcher runs already.
    await write(kafka.url, f"{app_id}-rows-changelog", encode_key("k", 1), encode_value(0, b"row"))
    await write(kafka.url, topic, b"k", *(b"%d" % number for number in range(20)))
    app = new_app(app_id, settings_for(kafka.url, tmp_path))
    rows, recovered, seen = RowTable(app, "rows"), app.tables.recovery.completed, list[int]()

    @agent(app, topic)
    async def hold(stream: Any) -> None:
        async for event in stream.noack().events():
            seen.append(event.message.offset)
            await recovered.wait()
            event.ack()  # the app's stop waits for what has begun

    async with running(app):
        await until(lambda: bool(seen) and seen[-1] == 19, f"all seen: {seen}")
        assert rows.active == {0}
    assert seen == list(range(20))
