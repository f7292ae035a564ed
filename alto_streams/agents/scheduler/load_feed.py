"""What a sender knows of the LM workers' live load: read from Redis while it dispatches, and never waited for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.exceptions import RedisError

from alto_streams.agents.scheduler.load_records import WITHIN_S, load_client, now_ms, read_load
from alto_streams.parts import Backoff, redacted
from alto_streams.scheduler.loads import STALE_MS
from alto_streams.settings import Settings
from alto_streams.wire.plans import Load
from alto_streams.wire.redis_keys import load_key

log = logging.getLogger(__name__)

EVERY_MS = 100

Hand = Callable[[Sequence[Load], int], None]


class LoadFeed:
    """Reads the loads of one model's workers for `hand`, with the time at which they were read.

    `unknown` counts the dispatches for which no load was fresh: those went by the plan's weights. The first ones after
    a pause are among them, since nothing is read while nothing is dispatched.
    """

    def __init__(self, settings: Settings, model: str, hand: Hand, registry: CollectorRegistry) -> None:
        self._key, self._address, self._hand = load_key(model), redacted(settings.redis), hand
        self._redis = load_client(settings)
        self._reading: asyncio.Task[None] | None = None
        self._next_ms = self._newest_ms = 0
        self._backoff = Backoff()
        self._fails = False
        self.unknown = 0
        what = "Calls dispatched, by whether a live load was known"
        dispatches = Counter("alto_dispatches", what, ["model", "live"], registry=registry)
        self._live, self._blind = (dispatches.labels(model, live) for live in ("yes", "no"))
        age = Gauge("alto_load_age_seconds", "Age of the newest load that was read", ["model"], registry=registry)
        age.labels(model).set_function(lambda: (now_ms() - self._newest_ms) / 1000 if self._newest_ms else -1.0)

    def dispatching(self) -> None:
        """A call is about to be placed. Reads in the background, unless that was done just now or is being done."""
        at_ms = now_ms()
        if at_ms - self._newest_ms > STALE_MS:
            self.unknown += 1
            self._blind.inc()
        else:
            self._live.inc()
        if at_ms >= self._next_ms and self._reading is None:
            self._next_ms = at_ms + EVERY_MS
            self._reading = asyncio.get_running_loop().create_task(self._read(), name="load-feed")

    async def stop(self) -> None:
        """Disconnect."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                found = await self._redis.hvals(self._key)
        except Exception as error:  # whatever it is: calls are placed without loads
            if not self._fails:
                log.warning("redis at %s: %s; calls go by the plan meanwhile", self._address, type(error).__name__)
            self._fails = True
            self._next_ms = now_ms() + round(1000 * self._backoff.next_s())
        else:
            if self._fails:
                log.info("redis at %s: loads are read again", self._address)
            self._fails = False
            self._backoff.reset()
            loads = [load for value in found if (load := read_load(value)) is not None]
            self._newest_ms = max((load.at_ms for load in loads), default=self._newest_ms)
            self._hand(loads, now_ms())
        finally:
            self._reading = None
