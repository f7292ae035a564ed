"""Watches a worker from a thread of its own, and ends its process if it has stalled (see `watchdog`).

A thread, since a blocked event loop runs no task of its own; and with a connection of its own, since a consumer that
has stopped fetching knows nothing of the records that it does not fetch.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import site
import sys
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any

from alto_streams.errors import Retryable, Stalled
from alto_streams.worker.broker_offsets import BrokerOffsets
from alto_streams.worker.watchdog import Patience, Sample, Watchdog

log = logging.getLogger(__name__)

EXIT_STALLED = 70  # of what a clean crash could not end: EX_SOFTWARE
GRACE_S = 15.0  # for the clean crash: what is finished is committed, and the group is left
JOIN_S = 2.0
LIBRARIES = (os.path.dirname(asyncio.__file__), *site.getsitepackages())


class Watch:
    """The watchdog of one app. `patience_s`: how long it may make no progress, 0 for ever."""

    def __init__(self, app: Any, app_id: str, broker: str, patience_s: float) -> None:
        self._app, self._name, self._patience_s = app, app_id, patience_s
        self._moves: Callable[[], int] = lambda: 0
        self._excuse: Callable[[], str | None] = lambda: None
        self._dog = Watchdog(patience_s)
        self._offsets = BrokerOffsets(broker, app_id)
        self._thread: threading.Thread | None = None
        self._watching: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._ends = False
        self._asked = self._answered = 0
        self._told_at_s = -patience_s

    def consider(self, *, moves: Callable[[], int], excuse: Callable[[], str | None]) -> None:
        """Take more into account than records. Both are called in another thread, so they only read.

        `moves` counts what the app gets done besides finishing records; `excuse` says what it waits for, if that is
        something that a restart would not bring.
        """
        self._moves, self._excuse = moves, excuse

    def start(self) -> None:
        """Begins to watch; to be called in the app's event loop."""
        if self._patience_s > 0 and self._thread is None:
            self._loop = asyncio.get_running_loop()
            # Faust makes them when they are first asked for, and they belong to the loop that they are made in.
            self._consumer, self._recovery = self._app.consumer, self._app.tables.recovery
            self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """Ends the watch, unless it is about to end the process."""
        if self._watching is None or self._thread is None or self._ends:
            return
        loop, task = self._watching
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(task.cancel)
        await asyncio.to_thread(self._thread.join, JOIN_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except asyncio.CancelledError:
            return
        except Stalled as error:
            self._end(error)

    async def _watch(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._watching = (asyncio.get_running_loop(), task)
        try:
            while not self._loop.is_closed():
                verdict = await self._look()
                if verdict.stalled is not None:
                    self._ends = True
                    raise Stalled(f"{self._name} has stalled: {verdict.stalled}")
                self._tell(verdict)
                await asyncio.sleep(self._dog.interval_s)
        finally:
            await self._offsets.close()

    async def _look(self) -> Patience:
        try:
            return self._dog.look(await self._sample())
        except Exception:  # whatever it is: without its watchdog the worker would never be missed
            log.exception("%s: its watchdog could not look at it, and will try again", self._name)
            return Patience()

    async def _sample(self) -> Sample:
        excuse = self._excuse()
        lag: int | None
        consumer = self._consumer
        moved = (
            consumer.finished_count,
            self._app.consumer_generation_id,
            sum(offset or 0 for offset in list(self._recovery.active_offsets.values())),  # None: not known yet
            self._moves(),
        )
        try:
            lag = sum((await self._offsets.lags(consumer.sources(), consumer.gate.position)).values())
        except Retryable as error:
            lag, excuse = None, str(error)
        return Sample(monotonic(), moved, lag, consumer.gate.unfinished(), self._is_awake(), excuse)

    def _is_awake(self) -> bool:
        """Whether the app's event loop has run what it was asked to run at the last sample."""
        awake, self._asked = self._answered == self._asked, self._asked + 1
        asked = self._asked

        def answer() -> None:
            self._answered = asked

        self._loop.call_soon_threadsafe(answer)
        return awake

    def _tell(self, verdict: Patience) -> None:
        if verdict.excused is not None and monotonic() - self._told_at_s >= self._patience_s:
            self._told_at_s = monotonic()
            log.warning("%s makes no progress, and is left alone, for it waits: %s", self._name, verdict.excused)

    def _end(self, error: Stalled) -> None:
        log.critical("%s; it ends now", error)
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._crash, error)
        # What hangs may hang in the crash as well: in a handler that cannot be cancelled, in a loop that is blocked.
        threading.Event().wait(GRACE_S)
        log.critical("%s; it could not end by itself within %.0f s", error, GRACE_S)
        os._exit(EXIT_STALLED)

    def _crash(self, error: Stalled) -> None:
        places = Counter(place for task in asyncio.all_tasks(self._loop) if (place := _place(task)) is not None)
        said = ", ".join(f"{place} ({count})" for place, count in places.most_common(20))
        log.critical("%s: its own tasks wait at: %s", self._name, said)
        self._crashing = self._loop.create_task(self._app.crash(error))


def _place(task: asyncio.Task[Any]) -> str | None:
    """Where a task waits: its innermost function that is no library's. None of what it works on."""
    place: str | None = None
    waits: Any = task.get_coro()
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None) or getattr(waits, "ag_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith(LIBRARIES):
            code = frame.f_code
            place = f"{code.co_qualname} at {os.path.basename(code.co_filename)}:{frame.f_lineno}"
        waits = (
            getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None) or getattr(waits, "ag_await", None)
        )
    return place
