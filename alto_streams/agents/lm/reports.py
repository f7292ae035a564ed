"""What an LM worker tells of itself: an `EngineReport` a second to the log, and its `Load` to Redis while it works.

Both are for placing calls well, and calls go on without them: whatever fails here is logged and left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

import msgspec
from redis.exceptions import RedisError

from alto_streams.agents.lm.tally import Tally
from alto_streams.agents.scheduler.load_records import WITHIN_S, load_client, now_ms, read_load
from alto_streams.parts import Backoff, redacted
from alto_streams.scheduler.paces import LOAD_S, REPORT_S
from alto_streams.settings import Settings
from alto_streams.wire.codec import encode
from alto_streams.wire.plans import Load
from alto_streams.wire.redis_keys import load_key
from alto_streams.wire.topic_names import engines_topic

log = logging.getLogger(__name__)

QUIET = 0.4  # of the session timeout: however idle, it reports twice before it counts as lost (scheduler.LOST)
IDLE_S = 1.0
GONE_S = 30.0  # after which a load is that of a worker that died
LAST_S = 2.0  # for the last report

Send = Callable[[str, bytes, bytes], Awaitable[object]]


async def never_away() -> bool:
    """Of a worker that nobody can ask about its engine."""
    return False


class Reports:
    """Sends what a tally has counted to `engines`, keyed by the worker: once a second where there is news.

    `session_s`: the session timeout of the worker's group; one without news reports often enough to be known to live.
    `is_away`: asked each time; a worker whose engine is away is one that has left, until it is back.
    """

    def __init__(
        self,
        tally: Tally,
        send: Send,
        model: str,
        worker: str,
        engine: str,
        slots: int,
        *,
        session_s: float = 10.0,
        is_away: Callable[[], Awaitable[bool]] = never_away,
    ) -> None:
        self._quiet_s, self._is_away = QUIET * session_s, is_away
        self._tally, self._send = tally, send
        self._model, self._worker, self._engine, self._slots = model, worker, engine, slots
        self._task: asyncio.Task[None] | None = None
        self._fails = False

    def start(self) -> None:
        """Report from now on, beginning at once: that is how others learn of this worker."""
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name="engine-reports")

    async def stop(self) -> None:
        """Say that this worker stops, if that can be said soon."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await self._report(left=True)

    async def _go_on(self) -> None:
        told_s, was_away = float("-inf"), False
        while True:
            now_s, away = time.monotonic(), await self._is_away()
            if away != was_away:
                log.warning("%s: %s is %s", self._worker, self._engine, "away" if away else "back")
            if self._tally.has_news or away != was_away or now_s - told_s >= self._quiet_s:
                told_s, was_away = now_s, away
                await self._report(left=away)
            await asyncio.sleep(REPORT_S)

    async def _report(self, *, left: bool = False) -> None:
        report = self._tally.report(self._model, self._worker, self._engine, now_ms(), self._slots, left=left)
        try:
            await self._send(engines_topic(), self._worker.encode(), encode(report))
            self._fails = False
        except Exception as error:  # whatever it is: calls go on without reports
            if not self._fails:
                log.warning("reports of %s are left out: %s", self._worker, error)
            self._fails = True


class LoadWriter:
    """Keeps this worker's load in Redis: ten times a second while it works, once a second while it does not.

    `owned`: prompt class -> the partitions of its work topic that this worker has now. While its engine `is_away` it
    tells nothing, so that no calls are sent here.
    """

    def __init__(
        self,
        tally: Tally,
        settings: Settings,
        model: str,
        worker: str,
        owned: Callable[[], Mapping[str, list[int]]],
        is_away: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tally, self._worker, self._owned, self._is_away = tally, worker, owned, is_away
        self._key, self._address = load_key(model), redacted(settings.redis)
        self._redis = load_client(settings)
        self._task: asyncio.Task[None] | None = None
        self._written: Load | None = None
        self._written_s = self._swept_s = 0.0
        self._works = asyncio.Event()
        self._fails = False

    def start(self) -> None:
        """Write from now on."""
        self._tally.on_work = self._works.set
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name="load-writer")

    async def stop(self) -> None:
        """Take the load away, if that can be done soon."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(WITHIN_S):
                    await self._redis.hdel(self._key, self._worker)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _go_on(self) -> None:
        backoff = Backoff()
        while True:
            self._works.clear()
            try:
                async with asyncio.timeout(WITHIN_S):
                    await self._write()
            except Exception as error:  # whatever it is: calls go on without loads
                if not self._fails:
                    log.warning("redis at %s: %s; calls go by the plan meanwhile", self._address, type(error).__name__)
                self._fails, self._written = True, None
                await asyncio.sleep(backoff.next_s())
                continue
            if self._fails:
                log.info("redis at %s: loads are written again", self._address)
            self._fails = False
            backoff.reset()
            await self._until_next()

    async def _until_next(self) -> None:
        await asyncio.sleep(LOAD_S)
        if not self._tally.held and not self._works.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S - LOAD_S):
                    await self._works.wait()

    async def _write(self) -> None:
        now_s, load = time.monotonic(), self._tally.load(self._worker, now_ms(), self._owned())
        last = self._written if now_s - self._written_s < 0.9 * IDLE_S else None
        if self._is_away():
            return
        if last is not None and last == msgspec.structs.replace(load, at_ms=last.at_ms):
            return
        await self._redis.hset(self._key, self._worker, encode(load))
        self._written, self._written_s = load, now_s
        if now_s - self._swept_s > GONE_S:
            self._swept_s = now_s
            await self._sweep(load.at_ms)

    async def _sweep(self, at_ms: int) -> None:
        """Remove what dead workers have left, and see that nothing stays when all of them have died."""
        await self._redis.expire(self._key, round(4 * GONE_S))
        gone = [
            field
            for field, value in (await self._redis.hgetall(self._key)).items()
            if (load := read_load(value)) is None or load.at_ms < at_ms - GONE_S * 1000
        ]
        if gone:
            await self._redis.hdel(self._key, *gone)


class Teller(Protocol):
    """What goes on by itself from `start` to `stop`."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...


@contextlib.asynccontextmanager
async def telling(*tellers: Teller) -> AsyncIterator[None]:
    """They go on meanwhile, and end with saying that there will be no more."""
    for teller in tellers:
        teller.start()
    try:
        yield
    finally:
        await asyncio.gather(*(teller.stop() for teller in tellers))
