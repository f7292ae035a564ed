"""What a gateway hears while clients listen: all of it, whatever is lost on the way, and little of it held."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from alto_streams.agents.egress.agent import Egress
from alto_streams.errors import PartDown
from alto_streams.gateway.live import LinkedEvent, Live
from alto_streams.gateway.store import EVENTS_PER_READ, Store, StoredEvent
from alto_streams.gateway.tail import HELD_CHARS, Tail
from alto_streams.wire.redis_keys import entry_id, events_key, offset_of
from alto_streams.wire.request_ids import new_request_id
from tests.broker.brokers import Server
from tests.gateway.harness import Results, eventually, settings_for, story


@pytest.fixture
async def client(redis: Server) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url, socket_timeout=2) as client:
        yield client


@pytest.fixture
async def live(redis: Server) -> AsyncIterator[Live]:
    live = Live(settings_for(redis.url))
    yield live
    await live.stop()


@pytest.fixture
async def store(redis: Server) -> AsyncIterator[Store]:
    store = Store(settings_for(redis.url))
    yield store
    await store.stop()


@pytest.fixture
def results() -> Results:
    return Results()


@pytest.fixture
def egress(redis: Server, client: Redis, results: Results) -> Egress:
    return Egress(client, f"p-{uuid.uuid4().hex}", results.replay, settings_for(redis.url))


async def heard(tail: Tail, after: int, upto: int) -> list[int]:
    """The offsets that a client hears, until it has heard `upto`."""
    offsets: list[int] = []
    async with asyncio.timeout(60):
        while after < upto:
            try:
                events = await tail.next(after)
            except PartDown:
                continue
            offsets += [each.offset for each in events]
            after = offsets[-1] if offsets else after
    return offsets


async def subscribers(client: Redis, request: str) -> int:
    [(_, number)] = await client.pubsub_numsub(events_key(request))
    return int(number)


def test_an_entry_knows_its_offset() -> None:
    assert [offset_of(entry_id(offset).encode()) for offset in (-1, 0, 7)] == [-1, 0, 7]


async def test_two_clients_hear_what_was_there_and_what_comes(
    live: Live, store: Store, client: Redis, egress: Egress, results: Results
) -> None:
    request = new_request_id()
    records = results.append(*story(request, 40))
    await egress.publish(records[:20])
    with Tail(store, live, request) as first, Tail(store, live, request) as second:
        assert await heard(first, -1, 19) == list(range(20))
        listening = asyncio.gather(heard(first, 19, 41), heard(second, 9, 41))
        for record in records[20:]:
            await egress.publish([record])
        assert await listening == [list(range(20, 42)), list(range(10, 42))]
        assert await subscribers(client, request) == 1

    async def is_left() -> bool:
        return await subscribers(client, request) == 0

    await eventually(is_left, "nobody listens any more")


async def test_nothing_is_missed_by_one_whose_connection_breaks(
    live: Live, store: Store, client: Redis, egress: Egress, results: Results
) -> None:
    request = new_request_id()
    records = results.append(*story(request, 100))
    with Tail(store, live, request) as tail:
        listening = asyncio.create_task(heard(tail, -1, 101))
        for number, record in enumerate(records):
            if number % 10 == 5:
                await client.client_kill_filter(_type="pubsub")
            await egress.publish([record])
        assert await listening == list(range(102))


class KeptEvents:
    """A store in memory; `reads`: from where each read began."""

    def __init__(self, events: Sequence[StoredEvent]) -> None:
        self._events, self.reads = events, list[int]()

    async def read(self, request: str, after: int, count: int = EVENTS_PER_READ) -> list[StoredEvent]:
        self.reads.append(after)
        return [each for each in self._events if each.offset > after][:count]


class Silent:
    """A connection over which nothing comes."""

    def join(self, request: str, listener: Tail) -> None: ...

    def leave(self, request: str, listener: Tail) -> None: ...

    async def confirmed(self, request: str) -> None: ...


def tail_of(events: Sequence[StoredEvent]) -> tuple[Tail, KeptEvents]:
    kept = KeptEvents(events)
    return Tail(kept, Silent(), "r"), kept  # type: ignore[arg-type]


async def test_what_does_not_follow_is_read() -> None:
    events = [StoredEvent(offset, "chunk", "{}") for offset in (3, 5, 9, 11)]
    tail, store = tail_of(events[:2])
    assert await tail.next(-1) == events[:2]
    store._events = events
    tail.tell(LinkedEvent(3, events[1]))  # heard already
    tail.tell(LinkedEvent(9, events[3]))  # but 9 has not been told
    assert await tail.next(5) == []
    assert await tail.next(5) == events[2:]
    tail.tell(LinkedEvent(11, StoredEvent(20, "done", "{}")))
    assert await tail.next(11) == [StoredEvent(20, "done", "{}")]
    assert store.reads == [-1, 5]


async def test_little_is_held_for_a_client_that_does_not_come() -> None:
    events = [StoredEvent(offset, "chunk", "x" * 1_000) for offset in range(1_000)]
    tail, store = tail_of(events)
    store._events = events[:1]
    assert await tail.next(-1) == events[:1]
    held = 0
    store._events = events
    for before, each in enumerate(events[1:]):
        tail.tell(LinkedEvent(before, each))
        held = max(held, len(tail._told))
    assert HELD_CHARS / 1_000 <= held <= HELD_CHARS / 1_000 + 1
    assert not tail._told
    offsets = [0]
    while offsets[-1] < 999:
        offsets += [each.offset for each in await tail.next(offsets[-1])]
    assert offsets == list(range(1_000))
