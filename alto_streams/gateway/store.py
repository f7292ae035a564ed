"""What a gateway reads and keeps in Redis. Redis may be away, or have lost everything: then each method says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from alto_streams.errors import PartDown, Poison
from alto_streams.gateway.problems import Problem
from alto_streams.parts import redacted
from alto_streams.settings import Settings
from alto_streams.wire.away import STALE_MS, EngineAway
from alto_streams.wire.codec import decoder
from alto_streams.wire.plans import Load
from alto_streams.wire.records import EventKind
from alto_streams.wire.redis_keys import (
    DATA,
    KIND,
    LAST_SEEN,
    away_key,
    entry_id,
    events_key,
    idempotency_key,
    load_key,
    offset_of,
    recent_key,
    request_key,
    seen_field,
    seen_key,
)
from alto_streams.wire.request_ids import created_ms, first_id_at

ANSWER_S = 2.0
FIRST_READ, EVENTS_PER_READ = 16, 256
CHARS_PER_READ = 262_144  # of these events, what a gateway keeps for a client that has not taken them
CONNECTIONS = 16  # a command takes a millisecond; each connection keeps its buffers
LISTED = 100_000  # requests of a pipeline, the newest ones
PROBE = "alto:probe"
T = TypeVar("T")
_away, _load = decoder(EngineAway), decoder(Load)
REMEDY = "start it (`alto-streams up`) or point ALTO_REDIS at it"


@dataclass(frozen=True)
class StoredEvent:
    """One client event as Redis has it; `offset` is its place in `results`."""

    offset: int
    kind: str
    data: str


@dataclass(frozen=True)
class KnownRequest:
    """What Redis knows of a request. `first`: the oldest event kept, and whether older ones were dropped."""

    pipeline: str | None
    first: int | None
    is_trimmed: bool
    last: StoredEvent | None


class Store:
    """Short commands over a small pool of connections; `live.py` has one for what comes while clients listen.

    Every method raises `PartDown` when Redis does not answer within its bound.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = redacted(settings.redis)
        self._settings = settings
        self._quick = _client(settings.redis)

    async def stop(self) -> None:
        """Closes all connections."""
        await self._quick.aclose()

    async def down(self) -> PartDown | None:
        """Why Redis cannot be reached now; None when it answers."""
        try:
            async with self._answering():
                await self._quick.get(PROBE)
        except PartDown as down:
            return down
        return None

    async def claim(self, pipeline: str, key: str, request: str, digest: str) -> tuple[str, bool]:
        """The id that this idempotency key stands for, and whether its request is known to be in the log already.

        Raises:
            Problem: 409, the key stands for another body.
        """
        value = f"{request} {digest} pending"
        name = idempotency_key(pipeline, key)
        async with self._answering():
            held: Any = await self._quick.set(name, value, nx=True, get=True, ex=self._settings.idempotency_ttl_s)
        if held is None:
            return request, False
        first, asked, state = held.decode().split(" ")
        if asked != digest:
            detail = "this key was used for another request; use a new one"
            raise Problem(409, "idempotency-key-reused", detail, field="idempotency_key")
        if state != "sent" and created_ms(first) < (time.time() - self._settings.horizon_s / 2) * 1000:
            # Its first try failed long ago: appended now under its old id, it would be dropped as past the horizon.
            async with self._answering():
                await self._quick.set(name, value, ex=self._settings.idempotency_ttl_s)
            return request, False
        return first, state == "sent"

    async def register(self, pipeline: str, request: str, key: str | None, digest: str) -> None:
        """Remembers an accepted request, for every gateway."""
        async with self._answering(), self._quick.pipeline(transaction=False) as calls:
            calls.hset(request_key(request), "pipeline", pipeline)
            calls.expire(request_key(request), self._settings.events_idle_ttl_s)
            recent, kept_s = recent_key(pipeline), self._settings.events_idle_ttl_s
            calls.zadd(recent, {request: 0})  # of equal scores, so in the order of the ids, which is that of time
            calls.zremrangebylex(recent, "-", f"({first_id_at(int((time.time() - kept_s) * 1000))}")
            calls.zremrangebyrank(recent, 0, -LISTED - 1)
            calls.expire(recent, kept_s)
            if key is not None:
                name = idempotency_key(pipeline, key)
                calls.set(name, f"{request} {digest} sent", ex=self._settings.idempotency_ttl_s)
            await calls.execute()

    async def known(self, request: str) -> KnownRequest | None:
        """What Redis has of a request; None if nothing."""
        key = events_key(request)
        async with self._answering(), self._quick.pipeline(transaction=False) as calls:
            calls.hget(request_key(request), "pipeline")
            calls.xrange(key, count=1)
            calls.xrevrange(key, count=1)
            calls.xinfo_stream(key)  # an error where there is no stream
            pipeline, first, last, about = await calls.execute(raise_on_error=False)
        for reply in (pipeline, first, last):
            if isinstance(reply, Exception):
                raise unreachable(self._address, reply)
        if pipeline is None and not first:
            return None
        is_trimmed = isinstance(about, dict) and about["entries-added"] > about["length"]
        return KnownRequest(
            pipeline.decode() if pipeline else None,
            offset_of(first[0][0]) if first else None,
            is_trimmed,
            _stored(*last[0]) if last else None,
        )

    async def recent(self, pipeline: str, before: str | None, count: int) -> list[str]:
        """The ids of the newest requests that gateways have accepted, newest first; made before `before`."""
        newest = "+" if before is None else f"({before}"
        async with self._answering():
            found: Any = await self._quick.zrevrangebylex(recent_key(pipeline), newest, "-", 0, count)
        return [each.decode() for each in found]

    async def last_events(self, requests: list[str]) -> list[StoredEvent | None]:
        """The last event of each of these; None where there is none."""
        async with self._answering(), self._quick.pipeline(transaction=False) as calls:
            for request in requests:
                calls.xrevrange(events_key(request), count=1)
            found = await calls.execute()
        return [_stored(*entries[0]) if entries else None for entries in found]

    async def has_told(self, request: str, stage: str, path: str) -> bool | None:
        """Whether an event has told of this item, or of its end; None where nothing at all is known of the request."""
        kinds = (EventKind.ITEM, EventKind.CLOSE)
        async with self._answering():
            told: Any = await self._quick.hmget(
                seen_key(request), [*(seen_field(kind, stage, path) for kind in kinds), LAST_SEEN]
            )
        return None if told[-1] is None else any(each is not None for each in told[:-1])

    async def engines(self, models: Sequence[str]) -> dict[str, tuple[list[EngineAway], list[str]]]:
        """Model -> what workers tell of engines that are away, and the workers that tell of work they could take."""
        if not models:
            return {}
        async with self._answering(), self._quick.pipeline(transaction=False) as calls:
            for model in models:
                calls.hvals(away_key(model))
                calls.hvals(load_key(model))
            replies = await calls.execute()
        now_ms, found = int(time.time() * 1000), {}
        for number, model in enumerate(models):
            loads = _readable(_load, replies[2 * number + 1])
            working = [load.worker for load in loads if now_ms - load.at_ms < STALE_MS]
            found[model] = (_readable(_away, replies[2 * number]), working)
        return found

    async def read(self, request: str, after: int, count: int = EVENTS_PER_READ) -> list[StoredEvent]:
        """The next events after offset `after`, at most `count`; may be empty."""
        async with self._answering():
            reply: Any = await self._quick.xread({events_key(request): entry_id(after)}, count=count)
        return [_stored(*entry) for _, entries in reply or [] for entry in entries]

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            raise unreachable(self._address, error) from None


class Portion:
    """How much of a stream is read at once: few events where they are large, since a slow client holds them up.

    Redis counts events and not bytes, so the first reads are small, and what is too much is read again later.
    """

    def __init__(self) -> None:
        self.count = FIRST_READ

    def of(self, events: list[StoredEvent]) -> tuple[list[StoredEvent], bool]:
        """What is kept of a read of `count` events, at least one; and whether more may be waiting in Redis."""
        chars = 0
        for number, event in enumerate(events):
            chars += len(event.data)
            if chars > CHARS_PER_READ and number:
                self.count = number
                return events[:number], True
        is_behind = len(events) == self.count
        self.count = min(EVENTS_PER_READ, 2 * self.count)
        return events, is_behind


def unreachable(address: str, error: Exception) -> PartDown:
    """What a client is told of a Redis that does not answer."""
    return PartDown("redis", address, f"no answer ({type(error).__name__})", REMEDY)


def _client(url: str) -> Redis:
    # One retry without a wait: it finds out that a pooled connection is from before a restart.
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=CONNECTIONS,
        timeout=ANSWER_S,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)


def _readable(decode: Callable[[bytes], T], values: list[bytes]) -> list[T]:
    """Those that this version can read."""
    found = []
    for value in values:
        with suppress(Poison):
            found.append(decode(value))
    return found


def _stored(entry: bytes, fields: dict[bytes, bytes]) -> StoredEvent:
    return StoredEvent(offset_of(entry), fields[KIND].decode(), fields[DATA].decode())
