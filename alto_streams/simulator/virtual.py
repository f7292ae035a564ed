"""An event loop in virtual time, for map functions: they may wait, and for nothing but time and one another.

`asyncio.sleep`, timeouts, tasks, locks and queues work as anywhere. What leaves the process or the thread does not:
there is no virtual time out there, so a function that tries ends the simulation. Code that computes takes no time.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

from alto_streams.simulator.clock import Clock


class SimulationError(Exception):
    """This pipeline cannot be simulated. Names the stage, what it did, and what it may do instead."""


class Handle:
    """One callback to be run once, unless it is cancelled first."""

    __slots__ = ("args", "callback", "context", "draws", "is_cancelled")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None, draws: str
    ) -> None:
        self.callback, self.args, self.draws = callback, args, draws
        self.context = contextvars.copy_context() if context is None else context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class VirtualLoop:
    """What the map functions of one stage take for their event loop: of all that a loop has, what waits for time."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draws = ""
        self._loop = cast("asyncio.AbstractEventLoop", self)
        self._error: SimulationError | None = None

    def __getattr__(self, what: str) -> Any:
        if what.startswith("_"):
            raise AttributeError(what)
        self._error = SimulationError(
            f"{self._name}: a map function uses the event loop's {what}, which has no virtual time; simulate it with a "
            "resource that waits with asyncio.sleep, and leaves neither its thread nor its process"
        )
        raise self._error

    @contextmanager
    def entered(self, draws: str = "") -> Iterator[None]:
        """Within it this is the running loop. Tasks made in it draw from `random` by this seed as they begin."""
        outer, self._draws = _get_running_loop(), draws
        _set_running_loop(self._loop)
        try:
            yield
        finally:
            _set_running_loop(outer)
            self._draws = ""

    def end(self) -> None:
        """Unwind whatever still runs."""
        for task in list(self._tasks):
            task.cancel()
        self._clock.run(lambda: not self._tasks)

    def _run(self, handle: Handle) -> None:
        if handle.is_cancelled:
            return
        outer = _get_running_loop()
        _set_running_loop(self._loop)
        if handle.draws:
            random.seed(handle.draws)
        try:
            handle.context.run(handle.callback, *handle.args)
        finally:
            _set_running_loop(outer)
        error, self._error = self._error, None
        if error is not None:  # the function may have caught it, or it would count as a failure of the function
            raise error

    # --- what asyncio asks of a loop

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        handle = Handle(callback, args, context, self._draws)
        self._clock.soon(self._run, handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        return self.call_at(self._clock.now_s + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        handle = Handle(callback, args, context, "")
        self._clock.at(when, self._run, handle)
        return handle

    def time(self) -> float:
        return self._clock.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._loop)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: Any = None, context: Any = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self._loop, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task of the function's own has failed and nobody has looked: that is no failure of the function."""
