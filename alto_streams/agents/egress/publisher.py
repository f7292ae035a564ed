"""What carries events to Redis: one call at a time, with whatever all partitions have brought by then.

Nothing waits for a call to fill: while one is under way the next one gathers, so calls are as few as the load allows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from alto_streams.parts import Backoff, redacted
from alto_streams.settings import Settings
from alto_streams.wire.records import Event
from alto_streams.wire.redis_keys import entry_id, events_key, published_key, request_key, seen_field, seen_key

log = logging.getLogger(__name__)

# One script call holds up Redis for everybody: 128 events take about a millisecond.
EVENTS_PER_CALL = 128
UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError, OSError)

# Of each part, the keys are in KEYS: `published`, then three of each request that it has events of.
PUBLISH = """
local most, idle_s, done_s, pipeline = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local replies, key = {}, 1

local function last_of(events)
  local entries = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)
  return entries[1] and entries[1][1] or '0-0'
end

local function add(events, seen, request, entries)
  local added, ttl = 0, idle_s
  for _, entry in ipairs(entries) do
    local id, kind, data, identity, number = unpack(entry)
    local before = redis.call('HMGET', seen, identity, 'done', 'last')
    if not before[2] and (not before[1] or tonumber(before[1]) < number) then
      local follows = before[3] or last_of(events)
      local reply = redis.pcall('XADD', events, 'MAXLEN', '~', most, id, 'kind', kind, 'data', data)
      if type(reply) == 'table' and reply.err then
        if not string.find(reply.err, 'equal or smaller') then return reply end
      else
        added = added + 1
        redis.call('HSET', seen, identity, number, 'last', id)
        if kind == 'done' then
          ttl = done_s
          redis.call('HSET', seen, 'done', id)
        end
        redis.call('PUBLISH', events, id .. ' ' .. follows .. ' ' .. kind .. ' ' .. data)
      end
    end
  end
  if added > 0 then
    redis.call('HSETNX', request, 'pipeline', pipeline)
    redis.call('EXPIRE', events, ttl)
    redis.call('EXPIRE', seen, ttl)
    redis.call('EXPIRE', request, ttl)
  end
  return added
end

for at, part in ipairs(cmsgpack.unpack(ARGV[5])) do
  local floor, upto, requests = unpack(part)
  local published = KEYS[key]
  local last = tonumber(redis.call('GET', published) or '-1')
  if last < floor then
    replies[at] = {0, last}
  else
    local added = 0
    for nth, entries in ipairs(requests) do
      local first = key + nth * 3 - 2
      local more = add(KEYS[first], KEYS[first + 1], KEYS[first + 2], entries)
      if type(more) == 'table' then return more end
      added = added + more
    end
    if upto > last then redis.call('SET', published, string.format('%d', upto)) end
    replies[at] = {1, added}
  end
  key = key + 1 + 3 * #requests
end
return replies
"""


class PublishedEvent(NamedTuple):
    """One event of `results` with where it stands."""

    partition: int
    offset: int
    event: Event


@dataclass
class EventRange:
    """Events of one partition, up to offset `last`; for a Redis that has everything up to `floor`.

    `outcome`: whether it was written; then how many were new, else the last offset that Redis has.
    """

    partition: int
    records: Sequence[PublishedEvent]
    last: int
    floor: int
    outcome: asyncio.Future[tuple[bool, int]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class ClientEventBody(msgspec.Struct, frozen=True):
    """The `data` of a server-sent event."""

    stage: str
    path: str
    number: int
    at_ms: int
    body: msgspec.Raw


class Publisher:
    """Carries parts to Redis. While that cannot be reached `waits_for` says so, and `waits` counts the tries."""

    def __init__(self, redis: Redis, pipeline: str, settings: Settings) -> None:
        self._redis = redis
        self._pipeline = pipeline
        self._address = redacted(settings.redis)
        self._bounds = (settings.events_max, settings.events_idle_ttl_s, settings.events_done_ttl_s)
        self._waiting: deque[EventRange] = deque()
        self._carrying: asyncio.Task[None] | None = None
        self._script = ""
        self._json = msgspec.json.Encoder()
        self._plan = msgspec.msgpack.Encoder()
        self.waits = 0
        self.waits_for: str | None = None

    async def put(self, partition: int, records: Sequence[PublishedEvent], last: int, floor: int) -> tuple[bool, int]:
        """The outcome of a part of at most `EVENTS_PER_CALL` events. Cancelled, it may or may not be written."""
        part = EventRange(partition, records, last, floor)
        self._waiting.append(part)
        if self._carrying is None:
            self._carrying = asyncio.get_running_loop().create_task(self._carry(), name="publisher")
        return await part.outcome

    async def _carry(self) -> None:
        parts: list[EventRange] = []
        try:
            while self._waiting:
                parts = self._taken()
                replies = await self._insist(parts)
                for part, (is_written, number) in zip(parts, replies, strict=True):
                    if not part.outcome.done():
                        part.outcome.set_result((bool(is_written), int(number)))
        except Exception as error:
            for part in (*parts, *self._waiting):
                if not part.outcome.done():
                    part.outcome.set_exception(error)
        finally:
            for part in (*parts, *self._waiting):  # if this task was cancelled
                part.outcome.cancel()
            self._waiting.clear()
            self._carrying = None

    def _taken(self) -> list[EventRange]:
        parts = [self._waiting.popleft()]
        room = EVENTS_PER_CALL - len(parts[0].records)
        while self._waiting and len(self._waiting[0].records) <= room:
            parts.append(self._waiting.popleft())
            room -= len(parts[-1].records)
        return parts

    async def _insist(self, parts: list[EventRange]) -> list[Any]:
        keys, arguments = self._arguments(parts)
        backoff = Backoff()
        # Once nobody waits for any of it, an owner of these partitions will bring it again.
        while not all(part.outcome.done() for part in parts):
            try:
                if not self._script:
                    self._script = str(await self._redis.script_load(PUBLISH))
                replies: list[Any] = await self._redis.evalsha(self._script, len(keys), *keys, *arguments)
            except NoScriptError:
                self._script = ""  # a restarted Redis
            except UNREACHABLE as error:
                wait = backoff.next_s()
                self.waits += 1
                self.waits_for = f"redis at {self._address}: {type(error).__name__}"
                log.warning(
                    "redis at %s: %s; results.%s waits, trying again in %.1f s",
                    *(self._address, type(error).__name__, self._pipeline, wait),
                )
                await asyncio.sleep(wait)
            else:
                self.waits_for = None
                return replies
        return [(0, 0)] * len(parts)

    def _arguments(self, parts: list[EventRange]) -> tuple[list[str], list[Any]]:
        keys: list[str] = []
        plan = []
        for part in parts:
            requests: dict[str, list[tuple[str, str, str, str, int]]] = {}
            for _, offset, event in part.records:
                entries = requests.setdefault(event.request, [])
                entries.append(self._entry(offset, event))
            keys.append(published_key(self._pipeline, part.partition))
            for request in requests:
                keys += (events_key(request), seen_key(request), request_key(request))
            plan.append((part.floor, part.last, list(requests.values())))
        return keys, [*self._bounds, self._pipeline, self._plan.encode(plan)]

    def _entry(self, offset: int, event: Event) -> tuple[str, str, str, str, int]:
        kind = str(event.kind)
        data = self._json.encode(ClientEventBody(event.stage, event.path, event.number, event.at_ms, event.body))
        # As text: the script's decoder knows no bytes.
        return entry_id(offset), kind, data.decode(), seen_field(kind, event.stage, event.path), event.number
