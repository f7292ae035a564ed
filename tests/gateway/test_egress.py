"""`results` -> Redis streams: once, in order, ids from offsets, through duplicates, stale owners and a lost Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from alto_streams.agents.egress.agent import Egress
from alto_streams.agents.egress.publisher import PublishedEvent
from alto_streams.wire.records import EventKind
from alto_streams.wire.redis_keys import events_key, published_key, request_key, seen_key
from alto_streams.wire.request_ids import new_request_id
from tests.broker.brokers import Server
from tests.gateway.harness import Results, event, eventually, settings_for, story


@pytest.fixture
async def client(redis: Server) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url, socket_timeout=2) as client:
        yield client


@pytest.fixture
def results() -> Results:
    return Results()


@pytest.fixture
def pipeline() -> str:
    return f"p-{uuid.uuid4().hex}"


@pytest.fixture
def egress(redis: Server, client: Redis, results: Results, pipeline: str) -> Egress:
    return Egress(client, pipeline, results.replay, settings_for(redis.url))


async def offsets(client: Redis, request: str) -> list[int]:
    return [int(entry.split(b"-")[0]) for entry, _ in await client.xrange(events_key(request))]


async def calls(client: Redis) -> int:
    return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def lose_everything(redis: Server) -> None:
    await asyncio.to_thread(redis.kill)
    await asyncio.to_thread(redis.start)


async def test_ids_are_offsets_and_the_first_occurrence_counts(egress: Egress, client: Redis, results: Results) -> None:
    request = new_request_id()
    first, second = event(request, 0), event(request, 1)
    elsewhere = event(request, 0, path="claims.1")
    done = event(request, 0, EventKind.DONE)
    late = event(request, 9)
    await egress.publish(results.append(first, second, first, elsewhere, second, done, done, late))
    assert await offsets(client, request) == [0, 1, 3, 5]
    assert (egress.statistics.added, egress.statistics.duplicates) == (4, 4)


async def test_what_several_partitions_bring_meanwhile_goes_in_one_call(
    redis: Server, client: Redis, pipeline: str
) -> None:
    """One partition misses what is before its records: that holds up none of the others."""

    async def nothing(partition: int, start: int, stop: int) -> AsyncIterator[Sequence[PublishedEvent]]:
        for none in ():
            yield none

    egress = Egress(client, pipeline, nothing, settings_for(redis.url))
    await egress.publish([PublishedEvent(8, 0, event(new_request_id(), 0))])  # has the script loaded
    before = await calls(client)
    requests = [new_request_id() for _ in range(8)]
    firsts = [2 if at == 3 else 0 for at in range(8)]
    parts = [
        [PublishedEvent(at, first + number, event(request, number)) for number in range(10)]
        for at, (first, request) in enumerate(zip(firsts, requests, strict=True))
    ]
    await asyncio.gather(*(egress.publish(part) for part in parts))
    assert [await offsets(client, request) for request in requests] == [
        list(range(first, first + 10)) for first in firsts
    ]
    assert await client.get(published_key(pipeline, 3)) == b"11"
    assert egress.statistics.rebuilds == 1
    assert await calls(client) - before <= 4  # all, what was missing of the one, and it again


async def test_publishing_again_changes_nothing(egress: Egress, client: Redis, results: Results) -> None:
    request = new_request_id()
    records = results.append(*story(request, 10))
    await egress.publish(records)
    before = await client.xrange(events_key(request))
    await egress.publish(records[4:])
    await egress.publish(records)
    assert await client.xrange(events_key(request)) == before


async def test_a_stale_owner_changes_nothing(
    egress: Egress, client: Redis, results: Results, redis: Server, pipeline: str
) -> None:
    request = new_request_id()
    records = results.append(*story(request, 300))
    zombie = Egress(client, pipeline, results.replay, settings_for(redis.url))
    await zombie.publish(records[:100])
    await egress.publish(records[100:])
    await zombie.publish(records[100:150])
    assert await offsets(client, request) == list(range(302))
    assert await client.get(published_key(pipeline, 0)) == b"301"


async def test_everything_expires_sooner_once_done(
    egress: Egress, client: Redis, results: Results, redis: Server
) -> None:
    running, ended = new_request_id(), new_request_id()
    await egress.publish(results.append(event(running, 0), *story(ended, 2)))
    bounds = settings_for(redis.url)
    for request, ttl in [(running, bounds.events_idle_ttl_s), (ended, bounds.events_done_ttl_s)]:
        for key in (events_key(request), seen_key(request), request_key(request)):
            assert ttl - 5 <= await client.ttl(key) <= ttl


async def test_a_stream_is_bounded(client: Redis, results: Results, redis: Server, pipeline: str) -> None:
    egress = Egress(client, pipeline, results.replay, settings_for(redis.url, events_max=100))
    request = new_request_id()
    await egress.publish(results.append(*story(request, 1_000)))
    assert 100 <= await client.xlen(events_key(request)) <= 200


async def test_lost_streams_are_rebuilt_with_the_same_ids(
    egress: Egress, client: Redis, results: Results, redis: Server
) -> None:
    ended, running = new_request_id(), new_request_id()
    await egress.publish(results.append(*story(ended, 20)))
    await egress.publish(results.append(*story(running, 20)[:-1]))
    before = {request: await client.xrange(events_key(request)) for request in (ended, running)}
    await lose_everything(redis)
    await egress.publish(results.append(event(running, 0, EventKind.DONE)))
    assert await client.xrange(events_key(ended)) == before[ended]
    after = await client.xrange(events_key(running))
    assert after[:-1] == before[running]
    assert after[-1][0] == b"43-1"
    assert results.replays == [(0, 43)]


async def test_a_loss_is_noticed_though_nothing_new_comes(
    egress: Egress, client: Redis, results: Results, redis: Server, pipeline: str
) -> None:
    """By the owner that has published, and by one that has only the committed offset."""
    request = new_request_id()
    await egress.publish(results.append(*story(request, 20)))
    before = await client.xrange(events_key(request))
    await egress.check({0: 0, 1: 0})
    assert results.replays == []
    for owner in (egress, Egress(client, pipeline, results.replay, settings_for(redis.url))):
        await lose_everything(redis)
        await owner.check({0: 22})
        assert await client.xrange(events_key(request)) == before
        assert await client.get(published_key(pipeline, 0)) == b"21"


async def test_an_owner_that_comes_back_goes_on_with_a_rebuild_that_was_broken_off(
    egress: Egress, client: Redis, results: Results, redis: Server, pipeline: str
) -> None:
    """Between the two times that it owned the partition another one did, and died while it rebuilt."""
    request = new_request_id()
    records = results.append(*story(request, 300))

    async def breaks_off(partition: int, start: int, stop: int) -> AsyncIterator[Sequence[PublishedEvent]]:
        yield records[start:150]
        raise asyncio.CancelledError

    await egress.publish(records[:100])
    other = Egress(client, pipeline, breaks_off, settings_for(redis.url))
    await other.publish(records[100:200])
    await lose_everything(redis)
    with pytest.raises(asyncio.CancelledError):
        await other.check({0: 200})
    await egress.publish(records[200:])
    assert await offsets(client, request) == list(range(302))


async def test_a_new_owner_notices_the_loss_too(
    egress: Egress, client: Redis, results: Results, redis: Server, pipeline: str
) -> None:
    request = new_request_id()
    records = results.append(*story(request, 20))
    await egress.publish(records[:10])
    await lose_everything(redis)
    await Egress(client, pipeline, results.replay, settings_for(redis.url)).publish(records[10:])
    assert await offsets(client, request) == list(range(22))


async def test_a_redis_that_fell_back_is_rebuilt_from_where_it_is(
    egress: Egress, client: Redis, results: Results, pipeline: str
) -> None:
    """A replica takes over that had not heard the last writes."""
    request = new_request_id()
    records = results.append(*story(request, 20))
    await egress.publish(records[:10])
    behind = {key: await client.dump(key) for key in (events_key(request), seen_key(request))}
    await egress.publish(records[10:15])
    for key, value in behind.items():
        await client.restore(key, 0, value, replace=True)
    await client.set(published_key(pipeline, 0), 9)
    await egress.publish(records[15:])
    assert await offsets(client, request) == list(range(22))
    assert results.replays == [(10, 15)]


async def test_what_is_past_the_horizon_is_not_rebuilt_but_for_an_end_that_came_late(
    client: Redis, results: Results, redis: Server, pipeline: str
) -> None:
    egress = Egress(client, pipeline, results.replay, settings_for(redis.url, horizon_s=60))
    made_ms = 1_700_000_000_000
    old, young = str(uuid.UUID(int=(made_ms << 80) | 7 << 76 | 2 << 62)), new_request_id()
    *told, end = story(old, 5)
    records = results.append(*(replace(each, at_ms=made_ms) for each in told), end, *story(young, 5))
    await egress.publish(records[8:])
    assert await offsets(client, old) == [6]
    assert await offsets(client, young) == list(range(7, 14))


async def test_it_waits_while_redis_is_away(egress: Egress, client: Redis, results: Results, redis: Server) -> None:
    request = new_request_id()
    records = results.append(*story(request, 5))
    await egress.publish(records[:3])
    await asyncio.to_thread(redis.kill)
    publishing = asyncio.create_task(egress.publish(records[3:]))

    async def is_waiting() -> bool:
        return egress.waits > 1

    await eventually(is_waiting, "it tries again")
    assert not publishing.done()
    await asyncio.to_thread(redis.start)
    await publishing
    assert await offsets(client, request) == list(range(7))


async def test_lost_again_during_the_rebuild(client: Redis, results: Results, redis: Server, pipeline: str) -> None:
    request = new_request_id()
    records = results.append(*story(request, 30))
    losses = 0

    async def replay(partition: int, start: int, stop: int) -> AsyncIterator[list[PublishedEvent]]:
        nonlocal losses
        for at in range(start, stop, 5):
            if at == 15 and losses == 0:
                losses += 1
                await lose_everything(redis)
            yield records[at : min(at + 5, stop)]

    egress = Egress(client, pipeline, replay, settings_for(redis.url))
    await egress.publish(records[25:])
    assert losses == 1
    assert await offsets(client, request) == list(range(32))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    numbers=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 3)), max_size=25),
    cuts=st.lists(st.tuples(st.integers(0, 80), st.booleans()), max_size=6),
)
async def test_any_duplication_redelivery_and_loss_gives_the_same_streams(
    client: Redis, redis: Server, numbers: list[tuple[int, int, int]], cuts: list[tuple[int, bool]]
) -> None:
    """The oracle: first occurrences, by identity, in log order. `cuts`: redelivered from there, after a loss or not."""
    requests, results, pipeline = [new_request_id(), new_request_id()], Results(), f"p-{uuid.uuid4().hex}"
    counts: dict[tuple[int, int], int] = {}
    expected: dict[str, list[int]] = {request: [] for request in requests}
    for which, path, repeats in numbers:
        number = counts[which, path] = counts.get((which, path), -1) + 1
        expected[requests[which]].append(len(results.records))
        results.append(*[event(requests[which], number, path=f"p.{path}")] * repeats)
    egress = Egress(client, pipeline, results.replay, settings_for(redis.url))
    position = 0
    for cut, is_lost in cuts:
        if results.records[position : cut + 1]:
            await egress.publish(results.records[position : cut + 1])
        if is_lost:
            await client.flushall()
        position = min(cut, len(results.records))  # the last one of the batch is delivered again
    rest = results.records[min(position, max(len(results.records) - 1, 0)) :]
    if rest:
        await egress.publish(rest)
    for request in requests:
        assert await offsets(client, request) == expected[request]
