"""Runs map functions: bounded, with a timeout; what they return becomes a record of the home."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from alto_streams.define.items import ItemWriter
from alto_streams.define.pipeline import Pipeline
from alto_streams.define.raised import FAULTS, Raised, raised
from alto_streams.errors import Poison
from alto_streams.tables.decisions import Cause
from alto_streams.wire.records import Child, Result, Status

NOTHING_RAISED = Raised("", "", "")
log = logging.getLogger(__name__)

Append = Callable[[int, Result], Awaitable[None]]


class MapRunner:
    """Starts the map functions of one stage; `append(partition, result)` puts what they return into the home."""

    def __init__(
        self, pipeline: Pipeline, stage: str, append: Append, at_once: int, *, with_values: bool = False
    ) -> None:
        self._stage, self._append, self._with_values = pipeline.stages[stage], append, with_values
        self._items = ItemWriter(self._stage)
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
        cause, reason, what = None, "", NOTHING_RAISED
        bound = None
        try:
            async with self._slots, asyncio.timeout(self._stage.timeout_s) as bound:
                found = await self._stage.function(**arguments, **self._resources)
            children = self._items.returned(found)
        except FAULTS as error:
            # The author's function is not ours to trust: its failure is a typed leaf, not a dead worker. The home
            # logs it with all other failures of its calls, when it takes the result.
            if isinstance(error, TimeoutError) and bound is not None and bound.expired():
                cause, reason = f"{self._stage.name} gave no result within {self._stage.timeout_s:g} s", Cause.TIMEOUT
            else:
                what = raised(self._stage.name, error, with_values=self._with_values)
                cause, reason = what.why, Cause.RAISED
        status = Status.OK if cause is None else Status.FAILED
        result = Result(
            request, path, attempt, uuid.uuid4().hex, children, status, cause, reason, what.error, what.trace
        )
        try:
            await self._append(partition, result)
        except Poison:
            log.warning("%s: request %s, path %s: its result is too large", self._stage.name, request, path)
            cause = f"{self._stage.name} returned more than a record may hold"
            failed = {"status": Status.FAILED, "cause": cause, "reason": Cause.TOO_LARGE}
            await self._append(partition, replace(result, children=[], **failed))
