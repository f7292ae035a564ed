"""What was sent and lands late, on real Apache Kafka: behind a quota, behind a broker that stood still."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from alto_streams.errors import Fenced, PartDown, Retryable
from alto_streams.local import kafka as node
from alto_streams.log.fence import Fence
from alto_streams.log.ingress import Ingress
from alto_streams.log.sender import LAST_EPOCH, Sender, _successor
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.wire.records import Raw, Request, decoder
from alto_streams.wire.request_ids import new_request_id
from tests.broker.brokers import HOST, Server, paused
from tests.broker.faust_apps import create_topics, unique, until
from tests.broker.test_ends import asking
from tests.broker.test_transport_rows import log_of

SLOW_BYTES_S = 500
PAD = b"." * 2_000


def producer(url: str, idempotent: bool = True) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers(url), acks="all", enable_idempotence=idempotent, request_timeout_ms=1_500
    )


@asynccontextmanager
async def sending(url: str) -> AsyncIterator[tuple[Sender, Fence]]:
    fence = Fence("test", 1.0)
    sender = Sender(partial(producer, url), url, fence)
    await sender.start()
    try:
        yield sender, fence
    finally:
        await sender.stop()


@asynccontextmanager
async def throttled(kafka: Server) -> AsyncIterator[None]:
    """Whoever produces may send so many bytes a second: the broker mutes connections for the rest."""
    await asyncio.to_thread(_quota, kafka, f"--add-config=producer_byte_rate={SLOW_BYTES_S}")
    try:
        yield
    finally:
        await asyncio.to_thread(_quota, kafka, "--delete-config=producer_byte_rate")


def _quota(kafka: Server, change: str) -> None:
    at = ["--bootstrap-server", f"{HOST}:{kafka.port}", "--alter", "--entity-type", "clients", "--entity-default"]
    command = node.tool("kafka.admin.ConfigCommand", *at, change)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


async def insist(sender: Sender, fence: Fence, topic: str, value: bytes) -> None:
    """What every sender of a worker does: the same again until the log has it, and only then what comes next."""
    while True:
        fence.beat(monotonic())
        try:
            await sender.send(topic, b"k", value, 0)
        except (Fenced, Retryable):
            continue
        return


async def settled(kafka: Server, topic: str) -> list[bytes]:
    """The values of the log, once nothing more comes: a broker reads what waits in muted connections later."""
    async with asking(kafka) as consumer:
        place, end, since = TopicPartition(topic, 0), -1, monotonic()
        while monotonic() - since < 3.0:
            now = (await consumer.end_offsets([place]))[place]
            end, since = (now, monotonic()) if now != end else (end, since)
            await asyncio.sleep(0.1)
    return [value or b"" for _, value in await log_of(kafka.url, topic)]


def in_order(values: list[bytes]) -> list[bytes]:
    """Without repeats of the one before; raises if one comes behind its successor."""
    numbers = [int(value.rstrip(b".")) for value in values]
    assert numbers == sorted(numbers), f"late: {numbers}"
    return values


async def test_a_late_record_of_a_replaced_producer_is_refused(kafka: Server) -> None:
    topic, place = unique("late"), None
    await create_topics(kafka.url, 1, topic)
    place = TopicPartition(topic, 0)
    async with sending(kafka.url) as (sender, fence):
        for value in (b"1", b"2"):
            await insist(sender, fence, topic, value)
        assert sender.producer is not None
        state = sender.producer._txn_manager
        old, sequence = (state.producer_id, state.producer_epoch), state.sequence_number(place)
        with paused(kafka):
            fence.beat(monotonic())
            held = await sender.enqueue(topic, b"k", b"3", 0)
            await until(lambda: sender.producer is None, "the fence has broken the producer")
        with pytest.raises(Fenced):
            await sender.delivered(held, topic)
        for value in (b"3", b"4"):
            await insist(sender, fence, topic, value)
        assert sender.producer is not None
        assert sender.producer._txn_manager.producer_id == old[0], "it is the same producer, one epoch on"
        late = producer(kafka.url)  # what the broker reads late, as the old producer had sent it
        late._txn_manager.set_pid_and_epoch(*old)
        await late.start()
        try:
            late._txn_manager.increment_sequence_number(place, sequence)
            with pytest.raises(KafkaError):
                await late.send_and_wait(topic, b"3", partition=0)
        finally:
            await late.stop()
        await insist(sender, fence, topic, b"5")
    assert set(in_order(await settled(kafka, topic))) == {b"1", b"2", b"3", b"4", b"5"}


async def test_a_quota_delays_and_neither_doubles_nor_reorders(kafka: Server) -> None:
    topic = unique("quota")
    await create_topics(kafka.url, 1, topic)
    values = [b"%d" % number + PAD for number in range(10)]
    async with throttled(kafka), sending(kafka.url) as (sender, fence):
        for value in values:
            await insist(sender, fence, topic, value)
        assert sender.rebuilt > 0, "sends waited for so long that the producer was replaced"
    found = in_order(await settled(kafka, topic))
    assert list(dict.fromkeys(found)) == values


async def test_a_request_that_was_accepted_late_is_there_under_its_one_id(kafka: Server) -> None:
    pipeline = unique("p").replace("-", "_")
    topic = f"requests.{pipeline}"
    await create_topics(kafka.url, 1, topic)
    config = Settings(_env_file=None, broker=kafka.url, send_timeout_s=1.0)  # type: ignore[call-arg]
    ingress, ids = Ingress(config), [new_request_id() for _ in range(5)]
    await ingress.start()
    tries = 0
    try:
        async with throttled(kafka):
            for each in ids:
                request = Request(each, pipeline, Raw(b'{"prompt": "%s"}' % PAD))
                while True:
                    await until(lambda: ingress.down() is None, "it is connected")
                    tries += 1
                    try:
                        await ingress.send_request(request)
                    except PartDown:
                        continue
                    break
    finally:
        await ingress.stop()
    assert tries > len(ids), "some timed out, and were tried again as a client tries"
    read = decoder(Request)
    found = [read(value) for value in await settled(kafka, topic)]
    assert {each.id for each in found} == set(ids), "all are there, none is made up"
    assert {each.id: bytes(each.input) for each in found} == {each.id: bytes(found[0].input) for each in found}


@pytest.mark.parametrize(
    ("identity", "error", "then"),
    [
        ((7, 0), Fenced("late"), (7, 1)),
        ((7, LAST_EPOCH), Fenced("late"), None),
        (None, Fenced("late"), None),
    ],
)
def test_who_takes_the_place_of_a_producer(
    identity: tuple[int, int] | None, error: Exception, then: tuple[int, int] | None
) -> None:
    assert _successor(identity, error) == then
