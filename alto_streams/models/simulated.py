"""The reference engine: continuous batching, iteration by iteration, as a pure step function and a clock for it.

A step takes `base_s + running_s * running + prefill_s * prefilled tokens` and yields one token for each running call.
A prompt class's fixed prefix is prefilled once and then cached. The figures are near a 7B model on one A100.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec


def token_count(text: str) -> int:
    """The reference workload's measure of a text."""
    return max(2, round(1.35 * len(text.split())))


@dataclass(frozen=True, slots=True)
class Timing:
    """The cost of a step in seconds, and the bounds of a batch. `prefixes`: how many classes' prefixes stay cached."""

    base_s: float = 0.012
    running_s: float = 0.00025
    prefill_s: float = 0.00009
    max_running: int = 64
    max_prefill: int = 2048
    prefixes: int | None = None

    def at_speed(self, speed: float) -> Timing:
        """That of an engine so many times as fast."""
        return replace(
            self, base_s=self.base_s / speed, running_s=self.running_s / speed, prefill_s=self.prefill_s / speed
        )


@dataclass(frozen=True, slots=True)
class Job:
    """One call as the timing sees it, in tokens: its class's fixed prefix, its own input, its output."""

    prompt_class: str
    prefix: int
    own: int
    output: int


class Step(msgspec.Struct, frozen=True, gc=False):
    """A call has `done` tokens; `last` when it is finished. `cached`: tokens of its prompt that the cache spared."""

    key: Hashable
    done: int
    last: bool
    cached: int


@dataclass(slots=True)
class _Running:
    """`since`: the engine's steps before its first. `number`: its place in the order of admission."""

    key: Hashable
    job: Job
    cached: int
    since: int
    number: int
    marks: Iterator[int] | None


class RunningBatch:
    """Which calls wait and run on one engine. Pure: the caller lets `begin()` seconds pass, then calls `finish()`."""

    def __init__(self, timing: Timing = Timing()) -> None:
        self._timing = timing
        self._waiting: list[tuple[float, int, Hashable, Job, Sequence[int]]] = []
        self._running: list[_Running] = []  # those that are told of at each step
        self._marked: list[tuple[int, int, _Running]] = []  # a heap of the others, by the step of their next mark
        self._cached: OrderedDict[str, None] = OrderedDict()
        self._order = self._admitted = self._steps = 0
        self._stepping = False

    @property
    def waiting(self) -> int:
        """Calls that are not admitted yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Calls in the batch."""
        return len(self._running) + len(self._marked)

    @property
    def cached(self) -> list[str]:
        """The prompt classes whose prefixes are cached, the one that was used last at the end."""
        return list(self._cached)

    def submit(self, key: Hashable, job: Job, priority: float = 0.0, marks: Sequence[int] = ()) -> None:
        """Let a call wait for admission: the lowest priority first, then first come, first served.

        `marks`: the tokens, in ascending order, that `finish()` tells of; of its last one it always does. Without them,
        of each one.
        """
        heapq.heappush(self._waiting, (priority, self._order, key, job, marks))
        self._order += 1

    def abort(self, key: Hashable) -> None:
        """Forget a call, wherever it stands; its place is free from the next step on."""
        self._waiting = [entry for entry in self._waiting if entry[2] != key]
        heapq.heapify(self._waiting)
        self._running = [call for call in self._running if call.key != key]
        self._marked = [entry for entry in self._marked if entry[2].key != key]
        heapq.heapify(self._marked)

    def begin(self) -> float | None:
        """Admit what fits and begin a step; its length in seconds, or None if there is nothing to run."""
        if self._stepping:
            raise RuntimeError("finish() the step before")
        timing, prefilled, running = self._timing, 0, len(self._running) + len(self._marked)
        while self._waiting and running < timing.max_running and prefilled < timing.max_prefill:
            prefilled += self._admit()
            running += 1
        if not running:
            return None
        self._stepping = True
        return timing.base_s + timing.running_s * running + timing.prefill_s * prefilled

    def finish(self) -> list[Step]:
        """End the step: one token for each running call; those with all their tokens leave. In order of admission."""
        if not self._stepping:
            raise RuntimeError("begin() a step first")
        self._stepping = False
        self._steps += 1
        told, marked, steps = self._running, self._marked, self._steps
        if marked and marked[0][0] == steps:
            told = told.copy()
            while marked and marked[0][0] == steps:
                told.append(heapq.heappop(marked)[2])
            if self._running:
                told.sort(key=lambda call: call.number)
        progress, ended = [], False
        for call in told:
            done = steps - call.since
            last = done >= call.job.output
            progress.append(Step(call.key, done, last, call.cached))
            if call.marks is None:
                ended = ended or last
            elif not last:
                self._mark(call, call.marks)
        if ended:
            self._running = [call for call in self._running if steps - call.since < call.job.output]
        return progress

    def _admit(self) -> int:
        """Run the first call that waits; the tokens of its prompt that are prefilled for it."""
        _, _, key, job, marks = heapq.heappop(self._waiting)
        cached = job.prefix if self._touch(job.prompt_class) else 0
        call = _Running(key, job, cached, self._steps, self._admitted, iter(marks) if marks else None)
        self._admitted += 1
        if call.marks is None:
            self._running.append(call)
        else:
            self._mark(call, call.marks)
        return job.own + job.prefix - cached

    def _mark(self, call: _Running, marks: Iterator[int]) -> None:
        """Tell of the call at its next mark."""
        token = min(next(marks, call.job.output), call.job.output)
        heapq.heappush(self._marked, (max(call.since + token, self._steps + 1), call.number, call))

    def _touch(self, prompt_class: str) -> bool:
        """Whether the class's prefix was cached; it is from now on, and the least recently used one may go."""
        known = prompt_class in self._cached
        self._cached[prompt_class] = None
        self._cached.move_to_end(prompt_class)
        if self._timing.prefixes is not None and len(self._cached) > self._timing.prefixes:
            self._cached.popitem(last=False)
        return known


class RealTime:
    """Drives a batch by the event loop's clock: one step clock for all calls of the engine.

    Steps are laid end to end from the first one on, so a late wake-up shortens the next wait and does not add up.
    `cpu_s`: processor time of the steps themselves.
    """

    def __init__(self, batch: RunningBatch) -> None:
        self._batch = batch
        self._listeners: dict[Hashable, Callable[[Step], None]] = {}
        self._task: asyncio.Task[None] | None = None
        self.cpu_s = 0.0

    def submit(self, key: Hashable, job: Job, listener: Callable[[Step], None], marks: Sequence[int] = ()) -> None:
        """Run a call; the listener hears of each token, or of its `marks`, within the event loop."""
        self._listeners[key] = listener
        self._batch.submit(key, job, marks=marks)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def abort(self, key: Hashable) -> None:
        """Drop a call; its listener hears nothing more. Unknown and finished calls are ignored."""
        if self._listeners.pop(key, None) is not None:
            self._batch.abort(key)

    async def close(self) -> None:
        """Stop the clock."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        at, since = loop.time(), time.thread_time()
        while (length := self._batch.begin()) is not None:
            at += length
            self.cpu_s += time.thread_time() - since
            await asyncio.sleep(max(0.0, at - loop.time()))
            since = time.thread_time()
            for progress in self._batch.finish():
                listener = self._listeners.get(progress.key)
                if progress.last:
                    self._listeners.pop(progress.key, None)
                if listener is not None:
                    listener(progress)
