"""Whether an LM worker reaches its engine. One that does not is as good as lost: its partitions are for others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from alto_streams.models.protocol import Engine

AWAY_S = 3.0  # after which an engine that has not been reached counts as lost; a restart of its server may be quicker
BACK = 5  # answers on end after which it is back: each coming and going costs its model a rebalance
ASK_S = 2.0  # for it to answer


class Reach:
    """What is known of it from the calls, and by asking while it is away: then there may be no calls to tell.

    `is_away`: it has not been reached for `AWAY_S`, and has not answered when it was asked then.
    """

    def __init__(self, engine: Engine, now_s: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._now_s = engine, now_s
        self._since_s: float | None = None
        self._answers = 0
        self.is_away = False

    def reached(self) -> None:
        """The engine has answered a call."""
        if not self.is_away:
            self._since_s = None

    def failed(self) -> None:
        """It has not, or refuses to work."""
        if self._since_s is None:
            self._since_s = self._now_s()

    async def look(self) -> bool:
        """Whether it is away now; it is asked where that is in doubt. To be called about once a second."""
        if self._since_s is None or self._now_s() - self._since_s < AWAY_S:
            return False
        self._answers = self._answers + 1 if await self._answers_now() else 0
        self.is_away = self._answers < (BACK if self.is_away else 1)
        if not self.is_away:
            self._since_s, self._answers = None, 0
        return self.is_away

    async def _answers_now(self) -> bool:
        try:
            async with asyncio.timeout(ASK_S):
                await self._engine.ready()
        except Exception:  # whatever it is: it is not there
            return False
        return True
