"""What a gateway holds for clients that do not read: little of each, however large their events are."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from alto_streams.agents.egress.agent import Egress
from alto_streams.agents.egress.publisher import PublishedEvent
from alto_streams.client import Client
from alto_streams.gateway import app
from alto_streams.gateway.store import CHARS_PER_READ, EVENTS_PER_READ, FIRST_READ, Portion, StoredEvent
from alto_streams.wire.records import EventKind
from alto_streams.wire.request_ids import new_request_id
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, Server
from tests.gateway.harness import LATE_S, GatewayProcess, event, eventually, settings_for

EVENT_CHARS, EVENTS, STALLED = 100_000, 300, 8
RECEIVE_BYTES = 16_384
HEARD, MEMORY = "alto_gateway_events_total", "process_resident_memory_bytes"
# What both systems hold of a connection, and what is on its way in the gateway.
IN_FLIGHT = 2 * RECEIVE_BYTES + 4 * app.UNSENT_BYTES


def stored(sizes: list[int]) -> list[StoredEvent]:
    return [StoredEvent(offset, "chunk", "x" * size) for offset, size in enumerate(sizes)]


def test_small_events_are_read_in_ever_larger_portions() -> None:
    portion, counts = Portion(), []
    for _ in range(6):
        counts.append(portion.count)
        assert portion.of(stored([100] * portion.count)) == (stored([100] * counts[-1]), True)
    assert counts == [FIRST_READ, 32, 64, 128, EVENTS_PER_READ, EVENTS_PER_READ]
    assert portion.of(stored([100] * 9)) == (stored([100] * 9), False), "there was no more"


def test_of_large_events_no_more_is_kept_than_the_bound() -> None:
    portion = Portion()
    kept, is_behind = portion.of(stored([CHARS_PER_READ // 3] * FIRST_READ))
    assert (len(kept), is_behind, portion.count) == (3, True, 3)
    assert portion.of(stored([CHARS_PER_READ * 5, 1])) == (stored([CHARS_PER_READ * 5]), True), "at least one"
    assert portion.count == 1
    assert portion.of(stored([CHARS_PER_READ * 5])) == (stored([CHARS_PER_READ * 5]), True)
    assert portion.count == 2


@pytest.fixture
def gateway(redis: Server, tmp_path: Path) -> Iterator[GatewayProcess]:
    """Without a broker: what is there already is served from Redis."""
    process = GatewayProcess(tmp_path, f"kafka://{HOST}:{free_ports(1)[0]}", redis.url)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


async def _nothing(partition: int, start: int, stop: int) -> AsyncIterator[list[PublishedEvent]]:
    return
    yield


def stalled(gateway: GatewayProcess, request: str) -> socket.socket:
    """Has asked for the events, and reads none of them."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    client.connect((HOST, gateway.port))
    client.sendall(f"GET /v1/requests/{request}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


async def figure(http: httpx.AsyncClient, name: str) -> float:
    page = (await http.get("/metrics")).text
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))


async def test_clients_that_take_nothing_cost_a_bounded_memory(redis: Server, gateway: GatewayProcess) -> None:
    """Each of them would hear 30 MB; what they do not take stays in Redis, and another client hears all of it."""
    request = new_request_id()
    async with Redis.from_url(redis.url) as client:
        egress = Egress(client, f"p-{uuid.uuid4().hex}", _nothing, settings_for(redis.url))
        events = [event(request, number, text="x" * EVENT_CHARS) for number in range(EVENTS)]
        done = event(request, 0, EventKind.DONE)
        await egress.publish([PublishedEvent(0, at, each) for at, each in enumerate([*events, done])])
    async with httpx.AsyncClient(base_url=gateway.url, timeout=LATE_S) as http, Client([gateway.url]) as other:
        assert len([each async for each in other.events(request)]) == EVENTS + 1  # warm
        before, heard = await figure(http, MEMORY), await figure(http, HEARD)
        with ExitStack() as stack:
            for _ in range(STALLED):
                stack.enter_context(stalled(gateway, request))

            async def all_listen() -> bool:
                return await figure(http, "alto_gateway_streams") == STALLED

            await eventually(all_listen, "the streams are open")
            assert len([each async for each in other.events(request)]) == EVENTS + 1
            taken = (await figure(http, HEARD) - heard - EVENTS - 1) * EVENT_CHARS / STALLED
            grown = (await figure(http, MEMORY) - before) / STALLED
        assert taken <= IN_FLIGHT + EVENT_CHARS
        # Each event is text, a frame of text and bytes for a moment, of which the allocator may keep some.
        assert grown <= 2 * (FIRST_READ + 4) * EVENT_CHARS
