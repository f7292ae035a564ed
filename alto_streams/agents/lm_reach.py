"""Whether an LM worker reaches its engine. One that does not is as good as lost: its partitions are for others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from alto_streams.models.protocol import Engine

AWAY_S = 3.0  # after which an engine that has not been reached counts as lost; a restart of its server may be quicker
ASK_S = 2.0  # for it to answer


class Reach:
    """What is known of it from the calls, and by asking while it is away: then there may be no calls to tell."""

    def __init__(self, engine: Engine, now_s: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._now_s = engine, now_s
        self._since_s: float | None = None

    def reached(self) -> None:
        """The engine has answered."""
        self._since_s = None

    def failed(self) -> None:
        """It has not, or refuses to work."""
        if self._since_s is None:
            self._since_s = self._now_s()

    @property
    def is_away(self) -> bool:
        """Whether it has not been reached for `AWAY_S`."""
        return self._since_s is not None and self._now_s() - self._since_s >= AWAY_S

    async def look(self) -> bool:
        """Whether it is away now: if so, it is asked once more."""
        if self.is_away:
            with contextlib.suppress(Exception):  # whatever it is: it is not there
                async with asyncio.timeout(ASK_S):
                    await self._engine.ready()
                self.reached()
        return self.is_away
