"""Tells gateways, through Redis, that a worker's engine does not answer, and why: clients hear it then."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from alto_streams.agents.lm.reach import ASK_S
from alto_streams.agents.scheduler.load_records import WITHIN_S, load_client, now_ms
from alto_streams.errors import CallRejected, EngineUnavailable
from alto_streams.models.cards import card_of
from alto_streams.models.protocol import Engine
from alto_streams.settings import Settings
from alto_streams.wire.away import EngineAway
from alto_streams.wire.codec import encode
from alto_streams.wire.redis_keys import away_key

log = logging.getLogger(__name__)

TELL_S = 1.0
ASK_EVERY_S = 5.0  # an engine without calls is asked, so that its loss is known before the next call
KEEP_S = 60


class Trouble:
    """Why the engine does not answer; `cause` is None while it does."""

    def __init__(self, now_ms: Callable[[], int] = now_ms) -> None:
        self._now_ms = now_ms
        self.cause: str | None = None
        self.since_ms = 0

    def failed(self, error: Exception) -> None:
        """It did not answer, or refused, for this reason."""
        if self.cause is None:
            self.since_ms = self._now_ms()
        self.cause = str(getattr(error, "cause", None) or error)

    def over(self) -> None:
        """It has answered."""
        self.cause = None


class AwayWriter:
    """Keeps in Redis that the engine is away, for as long as it is. While it `is_idle` it is asked itself.

    An engine in this process is not asked: it has nobody to lose, and would load its weights.
    """

    def __init__(
        self,
        trouble: Trouble,
        engine: Engine,
        settings: Settings,
        model: str,
        worker: str,
        is_idle: Callable[[], bool],
    ) -> None:
        self._trouble, self._engine, self._worker = trouble, engine, worker
        self._is_idle, self._asks = is_idle, not card_of(model, settings).kind.loads
        self._key, self._redis = away_key(model), load_client(settings)
        self._task: asyncio.Task[None] | None = None
        self._is_told = False
        self._asked_s = 0.0

    def start(self) -> None:
        """Tell from now on."""
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name="away-writer")

    async def stop(self) -> None:
        """What was told is taken back, if that can be done soon."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                await self._redis.hdel(self._key, self._worker)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _go_on(self) -> None:
        while True:
            if self._asks and self._is_idle() and time.monotonic() - self._asked_s >= ASK_EVERY_S:
                await self._ask()
                self._asked_s = time.monotonic()
            try:
                async with asyncio.timeout(WITHIN_S):
                    await self._tell()
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("that the engine is away is not told: %s", type(error).__name__)
            await asyncio.sleep(TELL_S)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(ASK_S):
                await self._engine.ready()
        except (EngineUnavailable, CallRejected) as error:
            self._trouble.failed(error)
        except TimeoutError:
            self._trouble.failed(EngineUnavailable(f"it has not answered within {ASK_S:g} s"))
        else:
            self._trouble.over()

    async def _tell(self) -> None:
        cause = self._trouble.cause
        if cause is not None:
            away = EngineAway(self._worker, self._engine.name, cause, self._trouble.since_ms, now_ms())
            await self._redis.hset(self._key, self._worker, encode(away))
            await self._redis.expire(self._key, KEEP_S)
        elif self._is_told:
            await self._redis.hdel(self._key, self._worker)
        self._is_told = cause is not None
