"""Timers of a home: one per call, kept in memory, armed anew by whoever takes the partition over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from alto_streams.records import Timer

Fired = Callable[[int, Timer], Awaitable[None]]


class Timers:
    """Calls `fired(partition, timer)` once a timer's time has come. A later timer for the same path replaces it."""

    def __init__(self, fired: Fired) -> None:
        self._fired = fired
        self._armed: dict[int, dict[tuple[str, str], asyncio.TimerHandle]] = {}
        self._firing: set[asyncio.Task[None]] = set()

    def arm(self, partition: int, timer: Timer, at_ms: int) -> None:
        """Fire at `at_ms` (milliseconds since the epoch), or at once if that is past."""
        armed = self._armed.setdefault(partition, {})
        # The request's deadline, and the silence and the time of one call, are timers of their own.
        key = (timer.request, "deadline" if not timer.attempt else f"due {timer.path}" if timer.due else timer.path)
        previous = armed.pop(key, None)
        if previous is not None:
            previous.cancel()
        delay_s = max(0.0, at_ms / 1000 - time.time())
        armed[key] = asyncio.get_running_loop().call_later(delay_s, self._fire, partition, key, timer)

    def drop(self, partition: int) -> None:
        """Forget all timers of a partition."""
        for handle in self._armed.pop(partition, {}).values():
            handle.cancel()

    def _fire(self, partition: int, key: tuple[str, str], timer: Timer) -> None:
        self._armed.get(partition, {}).pop(key, None)
        task = asyncio.get_running_loop().create_task(self._run(partition, timer))
        self._firing.add(task)
        task.add_done_callback(self._firing.discard)

    async def _run(self, partition: int, timer: Timer) -> None:
        await self._fired(partition, timer)
