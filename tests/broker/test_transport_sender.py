"""Sending on real Apache Kafka: what a stuck producer, a lost session and an impossible record come to."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import OutOfOrderSequenceNumber
from aiokafka.structs import TopicPartition

from alto_streams.errors import Fenced, Poison, Retryable
from alto_streams.log.fence import Fence
from alto_streams.log.sender import Out, Sender
from alto_streams.parts import bootstrap_servers
from tests.broker.brokers import Server, paused, revived
from tests.broker.faust_apps import KINDS, agent, create_topics, make_app, running, settings_for, unique, until


def producer(url: str, idempotent: bool = True) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=bootstrap_servers(url), acks="all", enable_idempotence=idempotent)


async def test_a_stuck_producer_is_replaced(kafka: Server) -> None:
    topic = unique("stuck")
    await create_topics(kafka.url, 1, topic)
    stock = producer(kafka.url)
    sender = Sender(partial(producer, kafka.url), kafka.url, Fence("test", 6.0))
    await stock.start()
    await sender.start()
    try:
        await stock.send_and_wait(topic, b"1", partition=0)
        await sender.send(topic, None, b"1", 0)
        # a batch that was numbered and never reached the log: what a failed send leaves behind
        assert sender.producer is not None
        for stuck in (stock, sender.producer):
            stuck._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 5)
        for _ in range(3):
            with pytest.raises(OutOfOrderSequenceNumber):
                await stock.send_and_wait(topic, b"2", partition=0)
        with pytest.raises(Retryable, match=f"{topic}.*OutOfOrder"):
            await sender.send(topic, None, b"2", 0)
        assert (await sender.send(topic, None, b"2", 0)).offset == 2
        assert sender.rebuilt == 1
    finally:
        await stock.stop()
        await sender.stop()
    with pytest.raises(Retryable, match="has been stopped"):
        await sender.send(topic, None, b"3", 0)


async def test_records_after_a_failed_one_fail_too(kafka: Server) -> None:
    topic = unique("after")
    await create_topics(kafka.url, 1, topic)
    sender = Sender(partial(producer, kafka.url), kafka.url, Fence("test", 6.0))
    await sender.start()
    try:
        await sender.send_all([Out(topic, None, b"first", 0)])
        assert sender.producer is not None
        sender.producer._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 5)
        bad = [await sender.enqueue(topic, None, b"%d" % number, 0) for number in range(8)]
        results = await asyncio.gather(*(sender.delivered(each, topic) for each in bad), return_exceptions=True)
        assert [type(result) for result in results] == [Retryable] * 8
        done = await sender.send_all([Out(topic, None, b"again", 0), Out(topic, None, b"more", 0)])
        assert [each.offset for each in done] == [1, 2], "nothing of the broken run is in the log"
    finally:
        await sender.stop()


async def test_what_can_never_be_sent_is_poison(kafka: Server) -> None:
    topic = unique("poison")
    await create_topics(kafka.url, 1, topic)
    sender = Sender(partial(producer, kafka.url), kafka.url, Fence("test", 6.0))
    await sender.start()
    try:
        with pytest.raises(Poison, match=f"{topic}.*larger"):
            await sender.send(topic, None, b"x" * 2_000_000, 0)
        with pytest.raises(Poison, match=f"{topic} has no partition 7"):
            await sender.send(topic, None, b"x", 7)
        assert (await sender.send(topic, None, b"fine", 0)).offset == 0
    finally:
        await sender.stop()


async def test_a_broker_without_producer_ids_is_used_all_the_same(tansu: Server) -> None:
    topic = unique("plain")
    await create_topics(tansu.url, 1, topic)
    sender = Sender(partial(producer, tansu.url), tansu.url, Fence("test", 6.0))
    await sender.start()
    try:
        done = await sender.send_all([Out(topic, None, b"%d" % number, 0) for number in range(50)])
        assert [each.offset for each in done] == list(range(50))
    finally:
        await sender.stop()


@KINDS
async def test_a_worker_that_has_lost_its_session_produces_nothing(kind: str, kafka: Server, tmp_path: Path) -> None:
    app_id, topic = unique("fenced"), unique("fenced-src")
    await create_topics(kafka.url, 1, topic)
    settings = settings_for(kafka.url, tmp_path, session_timeout_s=1.5, heartbeat_s=0.2)
    app = make_app(kind, app_id, settings, producer_request_timeout=30.0)

    @agent(app, topic)
    async def finish(stream: Any) -> None:
        async for event in stream.noack().events():
            event.ack()

    async with running(app):
        await until(lambda: len(app.consumer.assignment()) == 1, "assigned")
        await (await app.producer.send(topic, None, b"first", 0, None, None))
        with paused(kafka):  # no heartbeat is answered
            held = await app.producer.send(topic, None, b"held", 0, None, None)
            if kind == "ours":
                await until(lambda: app.fence.is_shut, "the session is over")
                with pytest.raises(Fenced, match=app_id):
                    await app.sender.send(topic, None, b"late", 0)
                with pytest.raises(Fenced):
                    await held  # nor is what it was still trying to send
            else:
                await asyncio.wait([held], timeout=1.8)
                assert not held.done()
        if kind == "stock":
            assert (await held).offset == 1, "stock Faust writes as soon as it can, whoever owns its partitions by then"
        else:
            await until(lambda: app.fence.age_s() < 1.0 and bool(app.consumer.assignment()), "a member again")
            assert (await app.sender.send(topic, None, b"again", 0)).offset in {1, 2}


async def test_a_producer_that_a_cut_has_broken_is_replaced(kafka: Server) -> None:
    """What aiokafka's own tasks raise when their batches have been failed must not end the replacement."""
    topic, fence = unique("cut"), Fence("test", 1.0)
    await create_topics(kafka.url, 4, topic)
    sender = Sender(partial(producer, kafka.url), kafka.url, fence)
    await sender.start()
    try:
        await sender.send_all([Out(topic, None, b"before", partition) for partition in range(4)])
        await asyncio.to_thread(kafka.kill)
        fence.beat(monotonic())
        held = [await sender.enqueue(topic, None, b"held", partition) for partition in range(4)]
        await until(lambda: sender.producer is None, "the fence has broken the producer")
        results = await asyncio.gather(*(sender.delivered(each, topic) for each in held), return_exceptions=True)
        assert {type(result) for result in results} == {Fenced}
        await asyncio.to_thread(kafka.start)
        await until(lambda: sender.rebuilt == 1, "there is another producer")
        fence.beat(monotonic() + 60.0)  # a broker that has just begun may take longer than the session
        await sender.send_all([Out(topic, None, b"after", partition) for partition in range(4)])
    finally:
        await asyncio.to_thread(revived, kafka)
        await sender.stop()
