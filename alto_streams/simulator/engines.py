"""An engine, with the worker in front of it: work items wait in the order of their slack, run, and are reported."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import msgspec

from alto_streams.agents.lm.tally import Held, RunTally, Tally
from alto_streams.errors import CallRejected
from alto_streams.models.protocol import Usage
from alto_streams.models.simulated import RunningBatch
from alto_streams.scheduler.slack import has_room, is_hopeless, rank
from alto_streams.simulator.clock import Clock, Logs
from alto_streams.simulator.experiment import MODEL, Observer, SimulatedSystem
from alto_streams.simulator.runs import SimulatedRun, Text, Writer
from alto_streams.wire.plans import EngineReport, Load
from alto_streams.wire.records import End, Status, Work

LOOK_S = 1.0  # how often a worker looks at the clock


class QueuedWork(msgspec.Struct, eq=False):
    """A work item at a worker. `held`, `counted`: by its tally, once it is there, and while it runs."""

    work: Work
    prompt_class: str
    partition: int
    at_ms: int
    run: SimulatedRun | None = None
    held: Held | None = None
    counted: RunTally | None = None
    is_over: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Of its call, within its request."""
        return self.work.stage, self.work.path

    @property
    def latest_ms(self) -> int | None:
        """When it has to begin for its request to end in time."""
        return self.work.receipt.latest_ms if self.work.receipt else None


class SimulatedWorker:
    """Takes work items of the partitions that it owns. `shed` is told of a request that cannot end in time."""

    def __init__(
        self,
        number: int,
        clock: Clock,
        logs: Logs,
        system: SimulatedSystem,
        writer: Writer,
        watch: Observer,
        shed: Callable[[str], object],
    ) -> None:
        speed = system.speeds[number] if number < len(system.speeds) else 1.0
        self.name, self._timing = f"engine-{number}", system.timing.at_speed(speed)
        self._clock, self._logs, self._writer, self._watch, self._shed = clock, logs, writer, watch, shed
        self._batch = RunningBatch(self._timing)
        self._tally = Tally(lambda: clock.now_s)
        self._waiting: list[tuple[float, int, QueuedWork]] = []
        self._held: dict[str, dict[tuple[str, str], QueuedWork]] = {}
        self._order = self._begun = 0
        self._looked_s = 0.0
        self._stepping = False
        self.is_paused = self.is_lost = False

    @property
    def held(self) -> list[QueuedWork]:
        """All that it has not finished, in the order in which it came."""
        return [item for items in self._held.values() for item in items.values()]

    def take(self, item: QueuedWork) -> None:
        """A work item has come. One that it has already, or a newer attempt of, is dropped."""
        known = self._held.get(item.work.request, {}).get(item.key)
        if known is not None:
            if known.work.attempt >= item.work.attempt:
                return
            self.drop(known)
        self._held.setdefault(item.work.request, {})[item.key] = item
        item.held = self._tally.take(item.prompt_class, item.work)
        self._queue(item)
        self.wake()

    def drop(self, item: QueuedWork) -> None:
        """It is over, or another worker's now."""
        if item.run is not None:
            self._batch.abort(item)
        self._forget(item)

    def over(self, request: str, covers: Callable[[QueuedWork], bool]) -> None:
        """These work items of a request are over: whatever runs of them is aborted."""
        for item in list(self._held.get(request, {}).values()):
            if covers(item):
                self.drop(item)

    def wake(self) -> None:
        """Begin the next step, unless one is under way."""
        if not (self._stepping or self.is_lost):
            self._stepping = True
            self._clock.at(self._clock.now_s, self._step, last=True)

    def load(self, owned: dict[str, list[int]]) -> Load:
        """What it holds now."""
        return self._tally.load(self.name, self._clock.now_ms, owned)

    def report(self) -> EngineReport:
        """What it saw since the last report."""
        return self._tally.report(MODEL, self.name, self.name, self._clock.now_ms, self._timing.max_running)

    def _queue(self, item: QueuedWork) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (self._rank(item), self._order, item))

    def _rank(self, item: QueuedWork) -> float:
        return rank(item.latest_ms, item.at_ms, self._clock.now_ms)

    def _fill(self) -> None:
        """Give the engine what it has slots for: the rest can still be put in another order, or move."""
        batch, waiting = self._batch, self._waiting
        while waiting and batch.running + batch.waiting < self._timing.max_running:
            ranked, _, item = heapq.heappop(waiting)
            if item.is_over:
                continue
            if self._rank(item) > ranked:
                self._queue(item)
                continue
            context, now_ms = item.work.context, self._clock.now_ms
            may_shed = context.shed and not has_room(batch.running + batch.waiting, self._timing.max_running)
            if may_shed and is_hopeless(item.latest_ms, now_ms):
                self._forget(item)
                self._shed(item.work.request)
            elif context.deadline_ms is not None and context.deadline_ms < now_ms:
                self._forget(item)
            else:
                self._begin(item)

    def _begin(self, item: QueuedWork) -> None:
        self._begun += 1
        name = f"{self.name}-run-{self._begun}"
        try:
            job, text = self._writer.job(item.work, item.prompt_class)
        except CallRejected as error:
            self._forget(item)
            refused = End(Status.FAILED, "rejected", error.cause)
            SimulatedRun(item.work, name, None, Text([], "", []), self._clock, self._logs).finish(refused)
            return
        item.run = SimulatedRun(item.work, name, job, text, self._clock, self._logs)
        item.counted = self._tally.begin(item.prompt_class)
        self._batch.submit(item, job, marks=text.marks)

    def _step(self) -> None:
        if self.is_lost:
            return
        if not self.is_paused:
            self._fill()
        length = self._batch.begin()
        if length is None:
            self._stepping = False
            return
        self._clock.at(self._clock.now_s + length, self._finish)

    def _finish(self) -> None:
        if self.is_lost:
            return
        for progress in self._batch.finish():
            ran: Any = progress.key
            self._tally.heard(ran.counted, ran.run.reach(progress.done, progress.last))
            if progress.last:
                self._ended(ran, progress.cached)
                self._forget(ran)
                ran.run.finish()
        if self._clock.now_s - self._looked_s > LOOK_S:
            self._looked_s = self._clock.now_s
            for item in self.held:
                if item.run is not None:
                    item.run.look()
        # What follows from these tokens at this very moment is in time for the next step.
        self._clock.at(self._clock.now_s, self._step, last=True)

    def _ended(self, item: QueuedWork, cached: int) -> None:
        run, counted = item.run, item.counted
        if run is None or run.job is None or counted is None:
            return
        self._tally.ended(counted, Usage(run.job.prefix + run.job.own, run.output, cached))
        self._watch.ended(self._clock.now_s, self.name, item.prompt_class, run.job.prefix, cached)

    def _forget(self, item: QueuedWork) -> None:
        items = self._held[item.work.request]
        del items[item.key]
        if not items:
            del self._held[item.work.request]
        item.is_over = True
        if item.counted is not None:
            self._tally.leave()
        if item.held is not None:
            self._tally.release(item.held)
