"""An engine, with the worker in front of it: work items wait in the order of their slack, run, and are reported."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from alto_streams.models.protocol import CallRejected
from alto_streams.models.simulated import Batch
from alto_streams.records import End, Status, Work
from alto_streams.scheduler.slack import has_room, is_hopeless, rank
from alto_streams.scheduling import ClassReport, EngineReport, Load
from alto_streams.simulator.clock import Clock, Logs
from alto_streams.simulator.runs import Run, Text, Writer
from alto_streams.simulator.words import MODEL, SimulatedSystem, Watch

LOOK_S = 1.0  # how often a worker looks at the clock


class Item(msgspec.Struct, eq=False):
    """A work item at a worker. `taken`: how many steps its engine had made, and with how many calls, as it began."""

    work: Work
    prompt_class: str
    partition: int
    at_ms: int
    run: Run | None = None
    begun_s: float = 0.0
    first_s: float | None = None
    taken: tuple[int, int] = (0, 0)
    is_over: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Of its call, within its request."""
        return self.work.stage, self.work.path

    @property
    def tokens(self) -> int:
        """What it is expected to take."""
        return self.work.receipt.work if self.work.receipt else 0

    @property
    def latest_ms(self) -> int | None:
        """When it has to begin for its request to end in time."""
        return self.work.receipt.latest_ms if self.work.receipt else None


class Worker:
    """Takes work items of the partitions that it owns. `shed` is told of a request that cannot end in time."""

    def __init__(
        self,
        number: int,
        clock: Clock,
        logs: Logs,
        system: SimulatedSystem,
        writer: Writer,
        watch: Watch,
        shed: Callable[[str], object],
    ) -> None:
        speed = system.speeds[number] if number < len(system.speeds) else 1.0
        self.name, self._timing = f"engine-{number}", system.timing.at_speed(speed)
        self._clock, self._logs, self._writer, self._watch, self._shed = clock, logs, writer, watch, shed
        self._batch = Batch(self._timing)
        self._waiting: list[tuple[float, int, Item]] = []
        self._fresh: list[Item] = []
        self._held: dict[str, dict[tuple[str, str], Item]] = {}
        self._work: dict[str, int] = {}
        self._classes: dict[str, ClassReport] = {}
        self._paces: list[tuple[float, float]] = []
        self._order = self._begun = self._count = self._steps = self._beside = 0
        self._looked_s = 0.0
        self._stepping = False
        self.is_paused = self.is_lost = False

    @property
    def held(self) -> list[Item]:
        """All that it has not finished, in the order in which it came."""
        return [item for items in self._held.values() for item in items.values()]

    def take(self, item: Item) -> None:
        """A work item has come. One that it has already, or a newer attempt of, is dropped."""
        known = self._held.get(item.work.request, {}).get(item.key)
        if known is not None:
            if known.work.attempt >= item.work.attempt:
                return
            self.drop(known)
        self._held.setdefault(item.work.request, {})[item.key] = item
        sender = item.work.receipt.sender if item.work.receipt else ""
        self._work[sender] = self._work.get(sender, 0) + item.tokens
        self._count += 1
        self._report(item.prompt_class, arrived=1)
        self._queue(item)
        self.wake()

    def drop(self, item: Item) -> None:
        """It is over, or another worker's now."""
        if item.run is not None:
            self._batch.abort(item)
        self._forget(item)

    def over(self, request: str, covers: Callable[[Item], bool]) -> None:
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
        running, work = self._batch.running, {sender: work for sender, work in self._work.items() if work}
        warm = self._batch.cached
        return Load(self.name, self._clock.now_ms, running, self._count - running, work, warm, owned)

    def report(self, span_s: float) -> EngineReport:
        """What it saw since the last report."""
        classes, self._classes = list(self._classes.values()), {}
        paces, self._paces = self._paces, []
        running, work = self._batch.running, sum(self._work.values())
        return EngineReport(
            MODEL,
            self.name,
            self.name,
            self._clock.now_ms,
            span_s,
            self._timing.max_running,
            running,
            self._count - running,
            work,
            classes,
            paces,
        )

    def _queue(self, item: Item) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (self._rank(item), self._order, item))

    def _rank(self, item: Item) -> float:
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

    def _begin(self, item: Item) -> None:
        self._begun += 1
        name = f"{self.name}-run-{self._begun}"
        try:
            job, text = self._writer.job(item.work, item.prompt_class)
        except CallRejected as error:
            self._forget(item)
            refused = End(Status.FAILED, "rejected", error.cause)
            Run(item.work, name, None, Text([], "", []), self._clock, self._logs).finish(refused)
            return
        item.run = Run(item.work, name, job, text, self._clock, self._logs)
        item.begun_s, item.taken = self._clock.now_s, (self._steps, self._beside)
        self._fresh.append(item)
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
        self._steps += 1
        self._beside += self._batch.running - 1
        self._clock.at(self._clock.now_s + length, self._finish)

    def _finish(self) -> None:
        if self.is_lost:
            return
        for item in self._fresh:
            item.first_s = self._clock.now_s
        self._fresh.clear()
        for progress in self._batch.finish():
            ran: Any = progress.key
            ran.run.reach(progress.done, progress.last)
            if progress.last:
                self._forget(ran)
                self._ended(ran, progress.cached)
                ran.run.finish()
        if self._clock.now_s - self._looked_s > LOOK_S:
            self._looked_s = self._clock.now_s
            for item in self.held:
                if item.run is not None:
                    item.run.look()
        # What follows from these tokens at this very moment is in time for the next step.
        self._clock.at(self._clock.now_s, self._step, last=True)

    def _ended(self, item: Item, cached: int) -> None:
        run, now_s = item.run, self._clock.now_s
        if run is None or run.job is None:
            return
        read = run.job.prefix + run.job.own
        begun_s = item.first_s or now_s
        first_s, call_s = begun_s - item.begun_s, now_s - begun_s
        self._report(item.prompt_class, 0, 1, read, cached, cached, [run.output], first_s, call_s)
        steps, beside = item.taken
        if self._steps > steps and run.output > 1:
            self._paces.append(((self._beside - beside) / (self._steps - steps), call_s / (run.output - 1)))
        self._watch.ended(now_s, self.name, item.prompt_class, run.job.prefix, cached)

    def _report(
        self,
        prompt_class: str,
        arrived: int = 0,
        ended: int = 0,
        prompt: int = 0,
        cached: int = 0,
        most: int = 0,
        outputs: Iterable[int] = (),
        first_s: float = 0.0,
        call_s: float = 0.0,
    ) -> None:
        known = self._classes.get(prompt_class) or ClassReport(prompt_class)
        self._classes[prompt_class] = ClassReport(
            prompt_class,
            known.arrived + arrived,
            known.ended + ended,
            known.prompt_tokens + prompt,
            known.cached_tokens + cached,
            max(known.cached_most, most),
            [*known.output_tokens, *outputs],
            known.first_token_s + first_s,
            known.call_s + call_s,
        )

    def _forget(self, item: Item) -> None:
        items = self._held[item.work.request]
        del items[item.key]
        if not items:
            del self._held[item.work.request]
        item.is_over = True
        self._count -= 1
        self._work[item.work.receipt.sender if item.work.receipt else ""] -= item.tokens
