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
        self._armed: dict[int, dict[str, dict[str, asyncio.TimerHandle]]] = {}
        self._firing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many are armed."""
        return sum(len(own) for requests in self._armed.values() for own in requests.values())

    def arm(self, partition: int, timer: Timer, at_ms: int) -> None:
        """Fire at `at_ms` (milliseconds since the epoch), or at once if that is past."""
        own = self._armed.setdefault(partition, {}).setdefault(timer.request, {})
        # The request's deadline, and the silence and the time of one call, are timers of their own.
        name = "deadline" if not timer.attempt else f"due {timer.path}" if timer.due else timer.path
        previous = own.pop(name, None)
        if previous is not None:
            previous.cancel()
        delay_s = max(0.0, at_ms / 1000 - time.time())
        own[name] = asyncio.get_running_loop().call_later(delay_s, self._fire, partition, name, timer)

    def forget(self, partition: int, request: str) -> None:
        """Forget the timers of a request: a deadline may be as far away as the horizon."""
        for handle in self._armed.get(partition, {}).pop(request, {}).values():
            handle.cancel()

    def drop(self, partition: int) -> None:
        """Forget all timers of a partition."""
        for own in self._armed.pop(partition, {}).values():
            for handle in own.values():
                handle.cancel()

    def _fire(self, partition: int, name: str, timer: Timer) -> None:
        requests = self._armed.get(partition, {})
        own = requests.get(timer.request, {})
        own.pop(name, None)
        if not own:
            requests.pop(timer.request, None)
        task = asyncio.get_running_loop().create_task(self._run(partition, timer))
        self._firing.add(task)
        task.add_done_callback(self._firing.discard)

    async def _run(self, partition: int, timer: Timer) -> None:
        await self._fired(partition, timer)
