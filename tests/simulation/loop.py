"""Event loops in virtual time: one for each simulated process, all stepped by one scheduler in a random order.

A step runs one callback of one process: a task up to its next await. Between any two steps any process may be killed,
so a crash can strike at every await. Time passes only when the scheduler is told to let it pass.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

REAP_ROUNDS = 50


class Handle:
    """One callback to be run once, unless it is cancelled first."""

    __slots__ = ("args", "callback", "is_cancelled", "loop")

    def __init__(self, loop: ProcessLoop | None, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.loop, self.callback, self.args = loop, callback, args
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class Scheduler:
    """Everything that can happen next. It is also what the shells take for the module `time`."""

    def __init__(self, rng: random.Random, now_s: float) -> None:
        self.rng, self.now_s, self.steps = rng, now_s, 0
        self.errors: list[str] = []  # what asyncio would have logged: exceptions that nobody has looked at
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._ids = itertools.count()

    def time(self) -> float:
        return self.now_s

    monotonic = time

    @property
    def now_ms(self) -> int:
        return round(self.now_s * 1000)

    @property
    def is_idle(self) -> bool:
        """Nothing can happen at this moment."""
        return not self._ready

    def soon(self, loop: ProcessLoop | None, callback: Callable[..., object], *args: Any) -> Handle:
        """Run it in some later step; `loop` None: it happens outside every process, in the broker or the network."""
        handle = Handle(loop, callback, args)
        self._ready.append(handle)
        return handle

    def at(self, at_s: float, loop: ProcessLoop | None, callback: Callable[..., object], *args: Any) -> Handle:
        """Run it once this time has come."""
        handle = Handle(loop, callback, args)
        heapq.heappush(self._timers, (at_s, next(self._ids), handle))
        return handle

    def step(self) -> None:
        """Run any one callback that is ready."""
        self.steps += 1
        ready = self._ready
        n = int(self.rng.random() * len(ready))
        handle, last = ready[n], ready.pop()
        if last is not handle:
            ready[n] = last
        if handle.is_cancelled:
            return
        loop = handle.loop
        if loop is None:
            handle.callback(*handle.args)
        elif loop.paused:
            loop.stash.append(handle)
        elif not loop.dead:
            _set_running_loop(loop)
            try:
                handle.callback(*handle.args)
            finally:
                _set_running_loop(None)

    def pass_time(self) -> bool:
        """Go on to the next timer. False: there is none."""
        while self._timers:
            at_s, _, handle = heapq.heappop(self._timers)
            if handle.is_cancelled or (handle.loop is not None and handle.loop.dead):
                continue
            self.now_s = max(self.now_s, at_s)
            self._ready.append(handle)
            return True
        return False

    def take(self, loop: ProcessLoop) -> deque[Handle]:
        """Take away what one process would still do."""
        taken = deque(handle for handle in self._ready if handle.loop is loop)
        self._ready = [handle for handle in self._ready if handle.loop is not loop]
        return taken


class ProcessLoop(asyncio.AbstractEventLoop):
    """What the tasks of one simulated process take for their event loop."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.dead, self.paused = False, False
        self.stash: deque[Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._last_breath: deque[Handle] | None = None

    def pause(self) -> None:
        """Stop in the middle, as by SIGSTOP."""
        self.paused = True

    def resume(self) -> None:
        """Go on as if no time had passed."""
        self.paused = False
        while self.stash:
            handle = self.stash.popleft()
            self._scheduler.soon(self, handle.callback, *handle.args) if not handle.is_cancelled else None

    def kill(self) -> None:
        """End every task where it stands, as by SIGKILL: whoever calls has cut the process off from the world before.

        The tasks are unwound, so that nothing of them is left; what they do meanwhile reaches nobody.
        """
        self.dead, self.paused = True, False
        breath = self._last_breath = self._scheduler.take(self)
        breath.extend(self.stash)
        for _ in range(REAP_ROUNDS):
            pending = [task for task in self._tasks if not task.done()]
            for task in pending:
                task.cancel()
            if not pending and not breath:
                self._tasks.clear()
                return
            while breath:
                handle = breath.popleft()
                if not handle.is_cancelled:
                    self.run_in(handle.callback, *handle.args)
        raise RuntimeError(f"tasks that do not end when they are cancelled: {pending}")

    def run_in(self, callback: Callable[..., Any], *args: Any) -> Any:
        """Run it at once, as a part of this process."""
        _set_running_loop(self)
        try:
            return callback(*args)
        finally:
            _set_running_loop(None)

    # --- what asyncio asks of a loop

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        if self._last_breath is None:
            return self._scheduler.soon(self, callback, *args)
        handle = Handle(self, callback, args)
        self._last_breath.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self._scheduler.at(self._scheduler.now_s + delay, self, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self._scheduler.at(when, self, callback, *args)

    def time(self) -> float:
        return self._scheduler.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: Any = None, context: Any = None) -> Any:  # type: ignore[override]
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name)
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self._scheduler.errors.append(f"{context.get('message')}: {context.get('exception')!r}")
