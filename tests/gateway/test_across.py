"""Over real brokers and real gateway processes: what a client hears when gateways, Redis or the broker go away."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from alto_streams.agents.egress.agent import Egress
from alto_streams.agents.egress.publisher import PublishedEvent
from alto_streams.agents.egress.reread import ResultsReplay
from alto_streams.client import Client, ClientEvent
from alto_streams.errors import PartDown, ProblemError
from alto_streams.wire.records import (
    Cancel,
    Cancelled,
    ControlRecord,
    Event,
    EventKind,
    HomeRecord,
    Request,
    decoder,
    encode,
)
from alto_streams.wire.request_ids import new_request_id
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import Server
from tests.gateway.harness import LATE_S, PIPELINE, GatewayProcess, event, eventually, settings_for, story

TOPICS = [f"requests.{PIPELINE}", f"results.{PIPELINE}", f"chunks.{PIPELINE}.report", f"control.{PIPELINE}"]


def address(broker: Server) -> str:
    return broker.url.removeprefix("kafka://")


async def make_topics(broker: Server) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address(broker))
    await admin.start()
    try:
        missing = set(TOPICS) - set(await admin.list_topics())
        await admin.create_topics([NewTopic(name, 1, 1) for name in sorted(missing)])
    finally:
        await admin.close()


@contextlib.asynccontextmanager
async def egress_running(broker: Server, redis: Server, start: int | None = None) -> AsyncIterator[Egress]:
    """What the egress worker does, with a bare consumer in the place of its Faust agent."""
    chosen = settings_for(redis.url, broker=broker.url, fetch_max_wait_ms=5)
    decode, place = decoder(Event), TopicPartition(f"results.{PIPELINE}", 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=address(broker), fetch_max_wait_ms=5)
    async with Redis.from_url(redis.url, socket_timeout=2) as client, consumer:
        egress = Egress(client, PIPELINE, ResultsReplay(chosen, PIPELINE), chosen)
        consumer.assign([place])
        if start is None:
            await consumer.seek_to_beginning(place)
        else:
            consumer.seek(place, start)

        async def run() -> None:
            while True:
                polled = await consumer.getmany(timeout_ms=1_000)
                for records in polled.values():
                    await egress.publish([PublishedEvent(0, raw.offset, decode(raw.value)) for raw in records])

        task = asyncio.create_task(run())
        try:
            yield egress
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def append(broker: Server, *events: Event) -> list[int]:
    async with AIOKafkaProducer(bootstrap_servers=address(broker), acks="all") as producer:
        sent = [await producer.send(f"results.{PIPELINE}", encode(each), key=each.request.encode()) for each in events]
        return [(await each).offset for each in sent]


async def last_record(broker: Server, topic: str) -> tuple[bytes, bytes]:
    """Key and value; the topic's one partition holds at least one record."""
    place = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=address(broker)) as consumer:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        found: list[Any] = []
        end = (await consumer.end_offsets([place]))[place]
        while not found or found[-1].offset < end - 1:
            found += (await asyncio.wait_for(consumer.getmany(timeout_ms=1_000), 60)).get(place, [])
        return found[-1].key, found[-1].value


@pytest.fixture
def gateways(broker: Server, redis: Server, tmp_path: Path) -> Iterator[list[GatewayProcess]]:
    both = [GatewayProcess(tmp_path, broker.url, redis.url) for _ in range(2)]
    try:
        for each in both:
            each.wait_ready()
        yield both
    finally:
        for each in both:
            each.kill()


async def broker_seen(gateway: GatewayProcess, reachable: bool) -> None:
    async with httpx.AsyncClient(timeout=LATE_S) as http:

        async def seen() -> bool:
            parts = (await http.get(f"{gateway.url}/healthz")).json()["parts"]
            return bool(parts["broker"]["reachable"] is reachable)

        await eventually(seen, f"broker reachable: {reachable}")


async def submitted(client: Client) -> str:
    return await client.submit(PIPELINE, {"prompt": "Why?"}, idempotency_key=uuid.uuid4().hex)


async def test_submit_and_cancel_reach_the_log(broker: Server, gateways: list[GatewayProcess]) -> None:
    await make_topics(broker)
    async with Client([each.url for each in gateways]) as client:
        request = await submitted(client)
        key, value = await last_record(broker, f"requests.{PIPELINE}")
        assert key.decode() == request
        found = decoder(Request)(value)
        assert (found.id, bytes(found.input)) == (request, b'{"prompt":"Why?","count":1}')
    async with Client([gateways[1].url]) as other:
        assert (await other.get(request))["status"] == "accepted"
        await other.cancel(request)
    key, value = await last_record(broker, f"chunks.{PIPELINE}.report")
    decision: HomeRecord = decoder(HomeRecord)(value)  # type: ignore[arg-type]
    assert key.decode() == request
    assert isinstance(decision, Cancel)
    assert (decision.request, decision.path) == (request, "")
    _, value = await last_record(broker, f"control.{PIPELINE}")
    assert decoder(ControlRecord)(value) == Cancelled(request, "")  # type: ignore[arg-type]


async def test_a_client_moves_to_another_gateway_and_misses_nothing(
    broker: Server, redis: Server, gateways: list[GatewayProcess]
) -> None:
    """The gateway it listens to is killed twice over; the log also has every event twice."""
    await make_topics(broker)
    async with egress_running(broker, redis), Client([each.url for each in gateways]) as client:
        request = await submitted(client)
        events = story(request, 30)
        offsets = await append(broker, *events[:10])
        heard: list[ClientEvent] = []
        listening = client.events(request)
        async for each in listening:
            heard.append(each)
            if len(heard) == 10:
                gateways[0].kill()
                offsets += (await append(broker, *events[:10], *events[10:20]))[10:]
            if len(heard) == 20:
                offsets += await append(broker, *events[20:], events[3], events[-1])
        expected = offsets[: len(events)]
        assert [each.id for each in heard] == expected
        assert [(each.kind, each.number) for each in heard] == [(each.kind, each.number) for each in events]
        # and by hand: dropped in the middle, resumed at the other process
        again = [each async for each in client.events(request, last_event_id=expected[14])]
        assert [each.id for each in again] == expected[15:]


async def test_a_redis_that_lost_everything_is_rebuilt_under_a_listening_client(
    broker: Server, redis: Server, gateways: list[GatewayProcess]
) -> None:
    await make_topics(broker)
    async with egress_running(broker, redis) as egress, Client([each.url for each in gateways]) as client:
        request = await submitted(client)
        events = story(request, 20)
        offsets = await append(broker, *events[:10])
        heard = []
        async for each in client.events(request):
            heard.append(each)
            if len(heard) == 10:
                await asyncio.to_thread(redis.kill)
                offsets += await append(broker, *events[10:])
                await asyncio.to_thread(redis.start)
        assert [each.id for each in heard] == offsets
        assert egress.statistics.rebuilds >= 1
        late = [each async for each in client.events(request, last_event_id=None)]
        assert [each.id for each in late] == offsets
        state = await client.get(request)
        assert (state["status"], state["pipeline"], state["result"]) == ("ok", PIPELINE, {"answer": 20})


async def test_a_broker_that_is_away_is_named_and_found_again(
    broker: Server, redis: Server, gateways: list[GatewayProcess]
) -> None:
    await make_topics(broker)
    gateway = gateways[0]
    async with Client([gateway.url], give_up_s=0.5) as client, Client([gateway.url]) as patient:
        await submitted(patient)
        await asyncio.to_thread(broker.kill)
        with pytest.raises(ProblemError) as caught:
            await client.submit(PIPELINE, {"prompt": "Why?"})
        assert caught.value.status == 503
        assert caught.value.document["part"] == "broker"
        assert broker.url in str(caught.value)
        await broker_seen(gateway, reachable=False)
        await asyncio.to_thread(broker.start)
        await make_topics(broker)
        await broker_seen(gateway, reachable=True)
        await submitted(patient)
    assert gateway.stop() == 0


async def test_a_gateway_stops_cleanly_under_a_listening_client(tansu: Server, redis: Server, tmp_path: Path) -> None:
    await make_topics(tansu)
    gateway = GatewayProcess(tmp_path, tansu.url, redis.url)
    try:
        gateway.wait_ready()
        async with Client([gateway.url]) as patient, Client([gateway.url], give_up_s=0.5) as client:
            request = await submitted(patient)
            listening = asyncio.ensure_future(anext(client.events(request)))
            async with httpx.AsyncClient(timeout=LATE_S) as http:

                async def is_open() -> bool:
                    return "alto_gateway_streams 1.0" in (await http.get(f"{gateway.url}/metrics")).text

                await eventually(is_open, "the stream is open")
            assert await asyncio.to_thread(gateway.stop) == 0
            with pytest.raises(PartDown, match=r"gateway at http.*alto-streams up.*--gateway"):
                await listening
    finally:
        gateway.kill()
    assert "Traceback" not in gateway.log.read_text()


async def test_a_wrong_address_says_what_to_do() -> None:
    async with Client([f"http://127.0.0.1:{free_ports(1)[0]}"]) as client:
        with pytest.raises(PartDown, match=r"gateway at http://127.0.0.1:\d+: .*alto-streams up.*--gateway"):
            await client.submit(PIPELINE, {"prompt": "Why?"})
        with pytest.raises(PartDown):
            await client.get(new_request_id())


async def test_a_slow_client_costs_only_itself(tansu: Server, redis: Server, tmp_path: Path) -> None:
    """One client takes nothing of a stream that is larger than all buffers; another hears it all meanwhile."""
    await make_topics(tansu)
    gateway = GatewayProcess(tmp_path, tansu.url, redis.url)
    try:
        gateway.wait_ready()
        request = new_request_id()
        size = 20_000
        events = [event(request, number, text="x" * size) for number in range(1_000)]
        async with Redis.from_url(redis.url) as client:
            egress = Egress(client, f"p-{uuid.uuid4().hex}", _nothing, settings_for(redis.url))
            records = [
                PublishedEvent(0, at, each) for at, each in enumerate([*events, event(request, 0, EventKind.DONE)])
            ]
            await egress.publish(records)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1_024)
        writer.write(f"GET /v1/requests/{request}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"event: chunk")
        async with Client([gateway.url]) as other, httpx.AsyncClient(timeout=LATE_S) as http:
            assert len([each async for each in other.events(request)]) == 1_001
            page = (await http.get(f"{gateway.url}/metrics")).text
        sent = next(
            float(line.split()[1]) for line in page.splitlines() if line.startswith("alto_gateway_events_total")
        )
        assert sent - 1_001 < 900  # the rest waits in Redis, not in the gateway
        writer.transport.abort()  # it would wait for what this client never reads
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    finally:
        gateway.kill()


async def _nothing(partition: int, start: int, stop: int) -> AsyncIterator[list[PublishedEvent]]:
    for _ in ():
        yield []
