"""The LM workers' live load, through a real Redis: written while they work, read while others dispatch."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from alto_streams.agents.lm import reports
from alto_streams.agents.lm.reports import LoadWriter
from alto_streams.agents.lm.tally import Tally
from alto_streams.agents.scheduler.load_feed import EVERY_MS, LoadFeed
from alto_streams.agents.scheduler.load_records import now_ms, read_load
from alto_streams.scheduler.loads import STALE_MS
from alto_streams.wire.codec import encode
from alto_streams.wire.plans import Load, Receipt
from alto_streams.wire.records import Call, Home, Work
from alto_streams.wire.redis_keys import load_key
from tests.broker.brokers import Server
from tests.gateway.harness import LATE_S, eventually, settings_for

WORKER = "http://10.0.0.1:6066"
CLAIMS = "factcheck.claims"
OWNED = {CLAIMS: [0, 3]}
WORK = Work("r", "claims", "0", 1, Home("chunks.factcheck.claims", 0), "judge", Call([], 10))
SENT = Work(
    *("r", "claims", "0", 1, WORK.home, "judge", WORK.call), receipt=Receipt("prompt_aware", "", "sender", work=70)
)


@pytest.fixture
async def client(redis: Server) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url, socket_timeout=2) as client:
        yield client


@pytest.fixture
def model() -> str:
    return f"m-{uuid.uuid4().hex}"


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
async def writer(redis: Server, model: str, tally: Tally) -> AsyncIterator[LoadWriter]:
    writer = LoadWriter(tally, settings_for(redis.url), model, WORKER, lambda: OWNED)
    writer.start()
    yield writer
    await writer.stop()


class Sender:
    """What a dispatcher is told."""

    def __init__(self, redis: Server, model: str) -> None:
        self.told: list[tuple[list[Load], int]] = []
        self.registry = CollectorRegistry()
        self.feed = LoadFeed(settings_for(redis.url), model, self._hear, self.registry)

    def _hear(self, loads: Sequence[Load], at_ms: int) -> None:
        self.told.append((list(loads), at_ms))

    def dispatches(self, live: str, model: str) -> float:
        return self.registry.get_sample_value("alto_dispatches_total", {"model": model, "live": live}) or 0.0


@pytest.fixture
async def sender(redis: Server, model: str) -> AsyncIterator[Sender]:
    sender = Sender(redis, model)
    yield sender
    await sender.feed.stop()


async def load_of(client: Redis, model: str) -> Load | None:
    value = await client.hget(load_key(model), WORKER)
    return None if value is None else read_load(value)


@pytest.mark.usefixtures("writer")
async def test_a_load_follows_the_work(client: Redis, model: str, tally: Tally) -> None:
    async def holds(tokens: int) -> bool:
        load = await load_of(client, model)
        return load is not None and sum(load.work.values()) == tokens

    await eventually(lambda: holds(0), "an idle worker's load")
    held = [tally.take(CLAIMS, SENT), tally.take(CLAIMS, SENT)]
    await eventually(lambda: holds(140), "its load with two calls")
    load = await load_of(client, model)
    assert load is not None
    assert (load.work, load.waiting, load.owned) == ({"sender": 140}, 2, OWNED)
    assert abs(load.at_ms - now_ms()) < 60_000
    for each in held:
        tally.release(each)
    await eventually(lambda: holds(0), "its load without them")


async def test_work_is_written_at_once_also_by_a_worker_that_was_idle(
    writer: LoadWriter, client: Redis, model: str, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_told() -> bool:
        load = await load_of(client, model)
        return load is not None and bool(load.work)

    async def is_there() -> bool:
        return await load_of(client, model) is not None

    monkeypatch.setattr(reports, "IDLE_S", 1e9)
    await eventually(is_there, "an idle worker's load")
    await asyncio.sleep(2 * reports.LOAD_S)
    tally.take(CLAIMS, SENT)
    await eventually(is_told, "its load")


async def test_a_worker_that_stops_takes_its_load_away_and_one_that_died_is_swept(
    redis: Server, client: Redis, model: str
) -> None:
    dead = Load("http://10.0.0.9:6066", now_ms() - round(1000 * reports.GONE_S) - 1, 1, 1)
    late = Load("http://10.0.0.8:6066", now_ms() - STALE_MS, 1, 1)
    await client.hset(load_key(model), mapping={each.worker: encode(each) for each in (dead, late)})
    await client.hset(load_key(model), "another version's", b"{")
    writer = LoadWriter(Tally(), settings_for(redis.url), model, WORKER, lambda: OWNED)
    writer.start()

    async def are(*workers: str) -> bool:
        return set(await client.hkeys(load_key(model))) == {each.encode() for each in workers}

    await eventually(lambda: are(WORKER, late.worker), "dead workers swept")
    assert 0 < await client.ttl(load_key(model)) <= 4 * reports.GONE_S
    await writer.stop()
    assert await are(late.worker)


@pytest.mark.usefixtures("writer")
async def test_without_redis_workers_and_senders_go_on_and_say_so_once(
    redis: Server, client: Redis, model: str, tally: Tally, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    async def is_known() -> bool:
        sender.feed.dispatching()
        return bool(sender.told and sender.told[-1][0])

    caplog.set_level(logging.INFO)
    await eventually(is_known, "a load")
    await asyncio.to_thread(redis.kill)
    try:
        end, took_s = time.monotonic() + 2 * STALE_MS / 1000, list[float]()
        while time.monotonic() < end or len(took_s) < 3:
            began = time.monotonic()
            sender.feed.dispatching()
            tally.release(tally.take(CLAIMS, SENT))
            took_s.append(time.monotonic() - began)
            await asyncio.sleep(0.05)
        assert statistics.median(took_s) < 0.1, "a dispatch waits for nothing"
    finally:
        await asyncio.to_thread(redis.start)
    warned = [each.name for each in caplog.records if each.levelno == logging.WARNING]
    assert sorted(warned) == ["alto_streams.agents.lm.reports", "alto_streams.agents.scheduler.load_feed"]
    blind = sender.dispatches("no", model)
    assert blind > 1  # the first one, and all but the first two seconds of those without Redis
    assert sender.feed.unknown == blind
    count = len(sender.told)

    async def is_fresh() -> bool:
        sender.feed.dispatching()
        return any(now_ms() - load.at_ms < 1000 for loads, _ in sender.told[count:] for load in loads)

    await eventually(is_fresh, "a load after Redis came back")
    before = sender.dispatches("yes", model)
    sender.feed.dispatching()
    assert (sender.dispatches("yes", model), sender.dispatches("no", model) >= blind) == (before + 1, True)


async def test_loads_are_read_only_while_calls_are_dispatched_and_not_for_each(
    client: Redis, model: str, sender: Sender
) -> None:
    load = Load(WORKER, now_ms(), 1, 2, {"sender": 70}, [CLAIMS], OWNED)
    await client.hset(load_key(model), WORKER, encode(load))
    await asyncio.sleep(0.2)
    assert not sender.told
    began = time.monotonic()
    while time.monotonic() < began + 0.55 or not sender.told:
        assert time.monotonic() < began + LATE_S
        for _ in range(10):
            sender.feed.dispatching()
        await asyncio.sleep(0.001)
    assert len(sender.told) <= 1 + 1000 * (time.monotonic() - began) / EVERY_MS
    assert sender.told[0][0] == [load]
