"""Offsets on real Apache Kafka: what stock Faust loses or replays, and our transport does not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from faust.types import EventT

from tests.broker.brokers import Server, paused
from tests.broker.faust_apps import (
    KINDS,
    agent,
    committed,
    create_topics,
    make_app,
    running,
    settings_for,
    unique,
    until,
)


def holding_agent(app: Any, topic: str, seen: list[EventT[Any]]) -> None:
    """An agent that acknowledges nothing by itself."""

    @agent(app, topic)
    async def hold(stream: Any) -> None:
        async for event in stream.noack().events():
            seen.append(event)  # noqa: PERF401 - read while it grows


async def produce(app: Any, topic: str, count: int, partition: int) -> None:
    """Appends numbered records through whatever the app produces with."""
    for number in range(count):
        fut = await app.producer.send(topic, None, b"%d" % number, partition, None, None)
        await fut


@KINDS
async def test_out_of_order_acknowledgements(kind: str, kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("order"), unique("order-src")
    await create_topics(kafka.url, 1, topic)
    settings = settings_for(kafka.url, tmp_path)
    seen: list[EventT[Any]] = []
    first = make_app(kind, app_id, settings)
    holding_agent(first, topic, seen)
    async with running(first):
        await produce(first, topic, 20, 0)
        await until(lambda: len(seen) == 20, "20 records delivered")
        for offset in (5, 6, 7, 12):
            seen[offset].ack()
        await first.consumer.commit()
        # not waiting for the sixteen others: this worker dies
        first.conf.stream_wait_empty = False
    again: list[EventT[Any]] = []
    second = make_app(kind, app_id, settings)
    holding_agent(second, topic, again)
    async with running(second):
        await until(lambda: any(event.message.offset == 19 for event in again), "the rest redelivered")
        second.conf.stream_wait_empty = False
    lost = set(range(20)) - {5, 6, 7, 12} - {event.message.offset for event in again}
    if kind == "stock":
        assert lost == {0, 1, 2, 3, 4}, "stock Faust committed 8, and nobody ever does 0-4"
    else:
        assert lost == set()


@KINDS
async def test_a_rebalance_replays_nothing_that_was_finished(kind: str, kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("revoke"), unique("revoke-src")
    await create_topics(kafka.url, 4, topic)
    times: Counter[bytes] = Counter()

    def worker() -> Any:
        # No commit by the clock: what the revocation does not commit is not committed.
        app = make_app(kind, app_id, settings_for(kafka.url, tmp_path), broker_commit_interval=60.0)

        @agent(app, topic)
        async def count(stream: Any) -> None:
            async for event in stream.noack().events():
                times[event.value] += 1
                event.ack()

        return app

    first, second = worker(), worker()
    async with running(first):
        await until(lambda: len(first.consumer.assignment()) == 4, "assigned")
        for partition in range(4):
            for number in range(25):
                await (await first.producer.send(topic, None, b"%d/%d" % (partition, number), partition, None, None))
        await until(lambda: len(times) == 100, "all finished once")
        async with running(second):
            await until(lambda: 0 < len(second.consumer.assignment()) < 4, "partitions shared")
            await until(lambda: not first.rebalancing and not second.rebalancing, "rebalanced")
            for partition in range(4):
                await (await first.producer.send(topic, None, b"last/%d" % partition, partition, None, None))
            await until(lambda: sum(value.startswith(b"last") for value in times) == 4, "what follows is delivered")
    replayed = {value for value, seen in times.items() if seen > 1}
    if kind == "stock":
        assert replayed, "stock Faust forgets its acknowledgements before the last commit of an assignment"
    else:
        assert not replayed
        assert set((await committed(kafka.url, app_id)).values()) == {26}


@KINDS
async def test_flush_waits_through_a_pause_of_the_broker(kind: str, kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("flush"), unique("flush-dst")
    await create_topics(kafka.url, 1, topic)
    app = make_app(kind, app_id, settings_for(kafka.url, tmp_path), producer_max_batch_size=16_384)
    app.producer_only = True
    destination = app.topic(topic, key_type=bytes, value_type=bytes)
    async with running(app):
        await produce(app, topic, 1, 0)
        with paused(kafka):
            pending = [destination.send_soon(key=b"k", value=b"x" * 1_000) for _ in range(400)]
            asyncio.get_running_loop().call_later(0.6, os.kill, kafka.pid, signal.SIGCONT)
            await app.producer.flush()
            unsent = sum(not record.done() for record in pending)
        await until(lambda: all(record.done() for record in pending), "all sent in the end")
    if kind == "stock":
        assert unsent, "stock Faust's flush returns with records still in its buffer"
    else:
        assert unsent == 0
