"""Runs the parts of one machine: starts them by their needs, restarts what dies, stops all in reverse order.

    async with Supervisor(parts, logs, progress) as supervisor:
        await supervisor.wait()

A part starts as soon as everything that it needs is ready; parts that do not need each other start at the same time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from alto_streams.errors import PartFailed
from alto_streams.local.children import ChildProcess, Children
from alto_streams.parts import Backoff

POLL_S = 0.1
RESTARTS = 5
SOUND_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to start: a child process (`command`, ready once `ready` says so), or a step to do once (`run`).

    `before` may refuse the start by raising. `ready` may block for a second. `needs`: names of the parts that must be
    ready before. `restarts`: whether another process may take over when it dies; else its death ends the system, with
    `remedy` in the message.
    """

    name: str
    command: Sequence[str] = ()
    ready: Callable[[], bool] = lambda: True
    before: Callable[[], None] = lambda: None
    run: Callable[[], Awaitable[object]] | None = None
    address: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a key
    needs: tuple[str, ...] = ()
    restarts: bool = True
    remedy: str = ""
    start_s: float = 60.0
    stop_s: float = 8.0


class State(StrEnum):
    """What progress tells of a part."""

    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPED = "stopped"


Progress = Callable[[str, State, float], None]
"""Called with the part's name, its new state, and the seconds since its start (since the death, for READY again)."""


class _Died(Exception):
    """A child has ended, or was ended because it did not get ready."""

    def __init__(self, did: str, child: ChildProcess) -> None:
        super().__init__(did)
        self.did, self.child = did, child


class Supervisor:
    """The parts of one machine while they run."""

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path,
        progress: Progress | None = None,
        *,
        sound_after_s: float = SOUND_AFTER_S,
    ) -> None:
        """`sound_after_s`: a part that has served for so long begins a new count of its deaths."""
        self._sound_after_s = sound_after_s
        self._parts = {part.name: part for part in parts}
        self._levels = _levels(parts)
        self._children = Children(logs)
        self._running: dict[str, ChildProcess] = {}
        self._watches: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None]
        self._progress: Progress = progress or (lambda name, state, seconds: None)

    @property
    def pids(self) -> dict[str, int]:
        """The process of each part that runs now."""
        return {name: child.pid for name, child in self._running.items()}

    async def __aenter__(self) -> Supervisor:
        """Raises `PartFailed`, or what a step raised; then nothing is left running."""
        self._failed = asyncio.get_running_loop().create_future()
        self._children.open()
        try:
            await self._start_all()
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_all()

    async def wait(self) -> None:
        """Until a part has failed for good. Raises `PartFailed`."""
        await asyncio.shield(self._failed)

    async def _start_all(self) -> None:
        ready = {name: asyncio.Event() for name in self._parts}

        async def bring_up(part: Part) -> None:
            for need in part.needs:
                await ready[need].wait()
            began = time.monotonic()
            self._progress(part.name, State.STARTING, 0.0)
            if part.run is not None:
                await part.run()
            else:
                try:
                    child = await self._start(part)
                except _Died as died:
                    raise PartFailed(_report(part, died.did, died.child)) from None
                self._watches.append(asyncio.create_task(self._watch(part, child)))
            self._progress(part.name, State.READY, time.monotonic() - began)
            ready[part.name].set()

        tasks = [asyncio.create_task(bring_up(part)) for part in self._parts.values()]
        everything: asyncio.Future[list[None]] = asyncio.gather(*tasks)
        try:
            # A part that came up and fails for good before the others are up ends the start as well.
            either: list[asyncio.Future[Any]] = [everything, self._failed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            await everything
        finally:
            for task in tasks:  # one that failed leaves those that wait for it waiting
                task.cancel()
            await asyncio.gather(everything, *tasks, return_exceptions=True)

    async def _start(self, part: Part) -> ChildProcess:
        """Start the part's process and wait until it is ready.

        Raises `_Died` if it does not get there, `PartFailed` if there is nothing to run, or what `before` raised.
        """
        await asyncio.to_thread(part.before)
        try:
            child = await self._children.start(part.name, part.command, part.env)
        except OSError as error:
            raise PartFailed(f"{part.name}: cannot run {part.command[0]}: {error.strerror}") from None
        self._running[part.name] = child
        deadline = time.monotonic() + part.start_s
        while not await asyncio.to_thread(part.ready):
            if child.code is not None or time.monotonic() > deadline:
                did = _ended(child.code) if child.code is not None else f"was not ready after {part.start_s:g} s"
                await self._end(part)
                raise _Died(did, child)
            await asyncio.sleep(POLL_S)
        return child

    async def _watch(self, part: Part, child: ChildProcess) -> None:
        """Restart the part each time it dies, until it has died too often. A restart that fails is one more death."""
        deaths, backoff = 0, Backoff()
        while True:
            ready_at = time.monotonic()
            died = _Died(_ended(await self._children.reap(child)), child)
            died_at = time.monotonic()
            self._running.pop(part.name, None)
            if died_at - ready_at > self._sound_after_s:
                deaths = 0
                backoff.reset()
            restarted = None
            while restarted is None:
                deaths += 1
                self._progress(part.name, State.DIED, 0.0)
                if not part.restarts or deaths > RESTARTS:
                    often = f", {deaths} times in a row" if part.restarts else ""
                    return self._fail(PartFailed(_report(part, died.did + often, died.child)))
                await asyncio.sleep(backoff.next_s())
                try:
                    restarted = await self._start(part)
                except _Died as again:
                    died = again
                except Exception as error:
                    return self._fail(error)
            child = restarted
            self._progress(part.name, State.READY, time.monotonic() - died_at)

    def _fail(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _stop_all(self) -> None:
        """What needs others stops before them; a cancellation meanwhile kills what is left instead of waiting."""
        for watch in self._watches:
            watch.cancel()
        try:
            await asyncio.gather(*self._watches, return_exceptions=True)
            for level in reversed(self._levels):
                await asyncio.gather(*(self._end(part) for part in level if part.name in self._running))
        finally:
            for child in self._running.values():
                child.kill()
            for child in list(self._running.values()):
                await child.wait()
            self._running.clear()
            await self._children.close()
            self._failed.cancel()
            if not self._failed.cancelled():
                self._failed.exception()  # told by wait(), or of no interest any more

    async def _end(self, part: Part) -> None:
        child = self._running[part.name]
        child.ask_to_end()
        try:
            await asyncio.wait_for(child.wait(), part.stop_s)
        except TimeoutError:
            child.kill()
        await self._children.reap(child)
        self._running.pop(part.name, None)
        self._progress(part.name, State.STOPPED, 0.0)


def _levels(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts by how long their chain of needs is. Raises `ValueError` if a need is unknown or they form a circle."""
    depth: dict[str, int] = {}
    left = list(parts)
    while left:
        able = [part for part in left if all(need in depth for need in part.needs)]
        if not able:
            raise ValueError(f"parts with unknown or circular needs: {', '.join(part.name for part in left)}")
        for part in able:
            depth[part.name] = 1 + max((depth[need] for need in part.needs), default=-1)
        left = [part for part in left if part not in able]
    return [[part for part in parts if depth[part.name] == level] for level in sorted(set(depth.values()))]


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"


def _report(part: Part, did: str, child: ChildProcess) -> str:
    at = f" at {part.address}" if part.address else ""
    remedy = f" {part.remedy}" if part.remedy else ""
    return f"{part.name}{at} {did}.{remedy} Its log is {child.log}; it ends with:\n{child.tail() or '(nothing)'}"
