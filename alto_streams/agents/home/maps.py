"""Runs map functions: bounded, with a timeout; what they return becomes a record of the home."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import Poison
from alto_streams.tables.decisions import Cause
from alto_streams.wire.records import Child, Raw, Result, Status

log = logging.getLogger(__name__)

Append = Callable[[int, Result], Awaitable[None]]


class MapRunner:
    """Starts the map functions of one stage; `append(partition, result)` puts what they return into the home."""

    def __init__(self, pipeline: Pipeline, stage: str, append: Append, at_once: int) -> None:
        self._stage, self._append = pipeline.stages[stage], append
        self._resources = {name: pipeline.make(kind) for name, kind in self._stage.resources.items()}
        self._slots = asyncio.Semaphore(at_once)
        self._running: dict[int, dict[tuple[str, str, int], asyncio.Task[None]]] = {}

    def start(self, partition: int, request: str, path: str, attempt: int, arguments: dict[str, Any]) -> None:
        """Run the function for one attempt, unless it is running already."""
        running = self._running.setdefault(partition, {})
        key = (request, path, attempt)
        if key in running:
            return
        task = asyncio.get_running_loop().create_task(self._run(partition, request, path, attempt, arguments))
        running[key] = task
        task.add_done_callback(lambda _: running.pop(key, None))

    def holds(self, partition: int, request: str, path: str, attempt: int) -> bool:
        """Whether the function runs for this attempt, or waits for its turn."""
        return (request, path, attempt) in self._running.get(partition, {})

    def drop(self, partition: int) -> None:
        """Stop everything that runs for a partition."""
        for task in list(self._running.pop(partition, {}).values()):
            task.cancel()

    async def stop(self) -> None:
        """Stop everything, and wait until it has stopped."""
        tasks = [task for running in self._running.values() for task in running.values()]
        for partition in list(self._running):
            self.drop(partition)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, partition: int, request: str, path: str, attempt: int, arguments: dict[str, Any]) -> None:
        children: list[Child] = []
        cause, reason = None, ""
        try:
            async with self._slots, asyncio.timeout(self._stage.timeout_s):
                found = await self._stage.function(**arguments, **self._resources)
            items = found if self._stage.many else [found]
            children = [Child(Raw(msgspec.json.encode(item))) for item in items]
        except TimeoutError:
            cause, reason = f"{self._stage.name} gave no result within {self._stage.timeout_s:g} s", Cause.TIMEOUT
        except Exception as error:
            # The author's function is not ours to trust: its failure is a typed leaf, not a dead worker.
            log.warning("%s: request %s, path %s raised %s", self._stage.name, request, path, type(error).__name__)
            cause, reason = f"{self._stage.name} raised {type(error).__name__}", Cause.RAISED
        status = Status.OK if cause is None else Status.FAILED
        result = Result(request, path, attempt, uuid.uuid4().hex, children, status, cause, reason)
        try:
            await self._append(partition, result)
        except Poison:
            log.warning("%s: request %s, path %s: its result is too large", self._stage.name, request, path)
            cause = f"{self._stage.name} returned more than a record may hold"
            failed = {"status": Status.FAILED, "cause": cause, "reason": Cause.TOO_LARGE}
            await self._append(partition, replace(result, children=[], **failed))
