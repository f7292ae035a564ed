"""Timers of a home: one per call, kept in memory, armed anew by whoever takes the partition over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from alto_streams.tables.instructions import timer_name
from alto_streams.wire.records import Timer

Fired = Callable[[int, Timer], Awaitable[None]]


@dataclass(slots=True)
class _Armed:
    """A timer, and what wakes up for it at `wakes_ms`, maybe before it is due: each chunk puts it off."""

    timer: Timer
    at_ms: int
    wakes_ms: int
    handle: asyncio.TimerHandle


class Timers:
    """Calls `fired(partition, timer)` once a timer's time has come. A later timer for the same path replaces it."""

    def __init__(self, fired: Fired) -> None:
        self._fired = fired
        self._armed: dict[int, dict[str, dict[str, _Armed]]] = {}
        self._firing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many are armed."""
        return sum(len(own) for requests in self._armed.values() for own in requests.values())

    def arm(self, partition: int, timer: Timer, at_ms: int) -> None:
        """Fire at `at_ms` (milliseconds since the epoch), or at once if that is past."""
        own = self._armed.setdefault(partition, {}).setdefault(timer.request, {})
        name = timer_name(timer)
        armed = own.get(name)
        if armed is not None and armed.wakes_ms <= at_ms:
            armed.timer, armed.at_ms = timer, at_ms
        else:
            if armed is not None:
                armed.handle.cancel()
            own[name] = _Armed(timer, at_ms, at_ms, self._wake(partition, timer.request, name, at_ms))

    def disarm(self, partition: int, request: str, path: str) -> None:
        """Forget the timers of a call that is over."""
        own = self._armed.get(partition, {}).get(request, {})
        for name in (path, f"due {path}"):
            if (armed := own.pop(name, None)) is not None:
                armed.handle.cancel()

    def forget(self, partition: int, request: str) -> None:
        """Forget the timers of a request: a deadline may be as far away as the horizon."""
        for armed in self._armed.get(partition, {}).pop(request, {}).values():
            armed.handle.cancel()

    def drop(self, partition: int) -> None:
        """Forget all timers of a partition."""
        for own in self._armed.pop(partition, {}).values():
            for armed in own.values():
                armed.handle.cancel()

    def _wake(self, partition: int, request: str, name: str, at_ms: int) -> asyncio.TimerHandle:
        delay_s = max(0.0, at_ms / 1000 - time.time())
        return asyncio.get_running_loop().call_later(delay_s, self._fire, partition, request, name)

    def _fire(self, partition: int, request: str, name: str) -> None:
        requests = self._armed.get(partition, {})
        own = requests.get(request, {})
        armed = own[name]  # whoever takes it away cancels this
        if armed.at_ms > armed.wakes_ms:
            armed.wakes_ms, armed.handle = armed.at_ms, self._wake(partition, request, name, armed.at_ms)
            return
        del own[name]
        if not own:
            del requests[request]
        task = asyncio.get_running_loop().create_task(self._run(partition, armed.timer))
        self._firing.add(task)
        task.add_done_callback(self._firing.discard)

    async def _run(self, partition: int, timer: Timer) -> None:
        await self._fired(partition, timer)
