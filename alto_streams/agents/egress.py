"""The way out of the log: `results.<pipeline>` -> one Redis stream per request, from which any gateway serves clients.

A stream entry's id comes from the event's offset, so writing an event again changes nothing ("id too small" means it is
already there), and a stream that was lost is rebuilt with the ids it had.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from alto_streams.parts import Backoff, redacted
from alto_streams.records import Event
from alto_streams.redis_keys import entry_id, events_key, published_key, request_key, seen_key
from alto_streams.settings import Settings

log = logging.getLogger(__name__)

# One script call holds up Redis for everybody: 128 events take about a millisecond.
EVENTS_PER_CALL = 128
UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError, OSError)

PUBLISH = """
local last = tonumber(redis.call('GET', KEYS[1]) or '-1')
if last < tonumber(ARGV[1]) then return {0, last, 0} end
local added, dropped = 0, 0
for i = 0, (#KEYS - 1) / 3 - 1 do
  local events, seen, request = KEYS[2 + i * 3], KEYS[3 + i * 3], KEYS[4 + i * 3]
  local id, offset, kind, data = ARGV[7 + i * 6], ARGV[8 + i * 6], ARGV[9 + i * 6], ARGV[10 + i * 6]
  local identity, number = ARGV[11 + i * 6], tonumber(ARGV[12 + i * 6])
  local before = redis.call('HMGET', seen, identity, 'done')
  if before[2] or (before[1] and tonumber(before[1]) >= number) then
    dropped = dropped + 1
  else
    local reply = redis.pcall('XADD', events, 'MAXLEN', '~', ARGV[3], id, 'kind', kind, 'data', data)
    if type(reply) == 'table' and reply.err then
      if not string.find(reply.err, 'equal or smaller') then return reply end
      dropped = dropped + 1
    else
      added = added + 1
    end
    local ttl = ARGV[4]
    redis.call('HSET', seen, identity, number)
    if kind == 'done' then
      ttl = ARGV[5]
      redis.call('HSET', seen, 'done', offset)
    end
    redis.call('HSETNX', request, 'pipeline', ARGV[6])
    redis.call('EXPIRE', events, ttl)
    redis.call('EXPIRE', seen, ttl)
    redis.call('EXPIRE', request, ttl)
  end
end
if tonumber(ARGV[2]) > last then redis.call('SET', KEYS[1], ARGV[2]) end
return {1, added, dropped}
"""


class Record(NamedTuple):
    """One event of `results` with where it stands."""

    partition: int
    offset: int
    event: Event


Replay = Callable[[int, int, int], AsyncIterator[Sequence[Record]]]
"""`replay(partition, start, stop)`: the records of `results` from `start`, or the oldest kept, up to before `stop`."""


@dataclass
class Statistics:
    """What an egress has done since it started."""

    added: int = 0
    duplicates: int = 0
    rebuilds: int = 0
    waits: int = 0
    read_again: int = 0


class ClientEventBody(msgspec.Struct, frozen=True):
    """The `data` of a server-sent event."""

    stage: str
    path: str
    number: int
    at_ms: int
    body: msgspec.Raw


class Egress:
    """Publishes the events of one pipeline. One owner per partition of `results`; a second, stale one does no harm.

    `replay` reads `results` apart from the consumer group, so a rebuild moves no committed offset. `redis` must have
    a socket timeout, or a Redis that hangs is not noticed.
    """

    def __init__(self, redis: Redis, pipeline: str, replay: Replay, settings: Settings) -> None:
        self._redis = redis
        self._pipeline = pipeline
        self._replay = replay
        self._address = redacted(settings.redis)
        self._bounds = (settings.events_max, settings.events_idle_ttl_s, settings.events_done_ttl_s)
        self._horizon_s = settings.horizon_s
        self._confirmed: dict[int, int] = {}
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._script = ""
        self._encoder = msgspec.json.Encoder()
        self.statistics = Statistics()
        self.waits_for: str | None = None  # a Redis that cannot be reached

    async def publish(self, batch: Sequence[Record]) -> None:
        """Returns when Redis has all of the batch, which may then be acknowledged; waits while Redis cannot be reached.

        Records of one partition must be in offset order. Cancelling it is safe at any time: publish the same again.
        """
        by_partition = sorted(batch, key=attrgetter("partition"))
        for partition, records in groupby(by_partition, key=attrgetter("partition")):
            await self._publish(partition, list(records))

    async def check(self, committed: Mapping[int, int]) -> None:
        """Rebuilds what Redis has lost of these partitions, each with its committed offset, though nothing new comes.

        Without it a client of a request that has ended would wait until another event comes to the same partition.
        """
        for partition, offset in committed.items():
            floor = max(offset - 1, self._confirmed.get(partition, -1))
            if floor >= 0 and not self._locks[partition].locked():  # else it is being published, and checked, anyway
                async with self._locks[partition]:
                    kept = await self._write(partition, [], floor, floor)
                    if kept is not None:
                        await self._rebuild(partition, kept, stop=floor + 1)

    async def _publish(self, partition: int, records: list[Record]) -> None:
        first, last = records[0].offset, records[-1].offset
        # What was delivered begins at the committed offset, which was committed after Redis had everything before it.
        # What this egress has confirmed itself may be from before another one owned the partition, and be less.
        floor = max(first - 1, self._confirmed.get(partition, -1))
        async with self._locks[partition]:
            while (kept := await self._write(partition, records, last, floor)) is not None:
                floor = await self._rebuild(partition, kept, stop=first)
            self._confirmed[partition] = max(last, self._confirmed.get(partition, -1))

    async def _rebuild(self, partition: int, kept: int, stop: int) -> int:
        """Redis has lost what came after offset `kept`: publishes it again up to `stop`; returns the last offset."""
        while True:
            self.statistics.rebuilds += 1
            log.warning(
                "redis at %s has lost the events of results.%s-%d after offset %d: rebuilding them up to %d",
                *(self._address, self._pipeline, partition, kept, stop),
            )
            floor = kept
            async for records in self._replay(partition, kept + 1, stop):
                self.statistics.read_again += len(records)
                alive = [record for record in records if not self._is_past(record.event.request)]
                lost = await self._write(partition, alive, records[-1].offset, floor)
                if lost is not None:  # again, meanwhile
                    kept = lost
                    break
                floor = max(floor, records[-1].offset)
            else:
                # What could not be read, or is past the retention, is not missed again.
                lost = await self._write(partition, [], stop - 1, floor)
                if lost is None:
                    self._confirmed[partition] = stop - 1
                    return stop - 1
                kept = lost

    def _is_past(self, request: str) -> bool:
        """Older than the horizon: nobody can ask for it any more."""
        try:
            return UUID(request).int >> 80 < (time.time() - self._horizon_s) * 1000
        except ValueError:
            return False

    async def _write(self, partition: int, records: Sequence[Record], last: int, floor: int) -> int | None:
        """Publishes up to `last`; or, when Redis has less than `floor`, writes nothing and returns what it has."""
        calls = [records[at : at + EVENTS_PER_CALL] for at in range(0, len(records), EVENTS_PER_CALL)] or [[]]
        for at, part in enumerate(calls):
            upto = last if at == len(calls) - 1 else part[-1].offset
            written, first, second = await self._call(*self._arguments(partition, part, upto, floor))
            if not written:
                return int(first)
            self.statistics.added += int(first)
            self.statistics.duplicates += int(second)
            floor = max(floor, upto)
        return None

    def _arguments(
        self, partition: int, records: Sequence[Record], last: int, floor: int
    ) -> tuple[list[str], list[Any]]:
        keys = [published_key(self._pipeline, partition)]
        values: list[Any] = [floor, last, *self._bounds, self._pipeline]
        for _, offset, event in records:
            body = ClientEventBody(event.stage, event.path, event.number, event.at_ms, event.body)
            keys += [events_key(event.request), seen_key(event.request), request_key(event.request)]
            values += [entry_id(offset), offset, str(event.kind), self._encoder.encode(body)]
            values += [f"{event.kind} {event.stage} {event.path}", event.number]
        return keys, values

    async def _call(self, keys: list[str], values: list[Any]) -> list[Any]:
        backoff = Backoff()
        while True:
            try:
                if not self._script:
                    self._script = str(await self._redis.script_load(PUBLISH))
                reply: list[Any] = await self._redis.evalsha(self._script, len(keys), *keys, *values)
            except NoScriptError:
                self._script = ""  # a restarted Redis
            except UNREACHABLE as error:
                wait = backoff.next_s()
                self.statistics.waits += 1
                self.waits_for = f"redis at {self._address}: {type(error).__name__}"
                log.warning(
                    "redis at %s: %s; results.%s waits, trying again in %.1f s",
                    *(self._address, type(error).__name__, self._pipeline, wait),
                )
                await asyncio.sleep(wait)
            else:
                self.waits_for = None
                return reply
