"""All workers, and which of them owns which partitions: what a consumer group does with a plan, and with a loss."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

from alto_streams.define.pipeline import Pipeline
from alto_streams.simulator.clock import Clock, Logs, Reader
from alto_streams.simulator.engines import QueuedWork, SimulatedWorker
from alto_streams.simulator.experiment import Observer, SimulatedSystem
from alto_streams.simulator.runs import Writer
from alto_streams.wire import topic_names
from alto_streams.wire.paths import covers
from alto_streams.wire.plans import Load, Plan
from alto_streams.wire.records import Cancel, Cancelled, ControlRecord, Status, decoder, encode
from alto_streams.wire.records import Work as WorkItem

_decode_work = decoder(WorkItem)
_decode_control: Callable[[bytes], ControlRecord] = decoder(ControlRecord)  # type: ignore[arg-type]


class SimulatedFleet:
    """Hands work items to the owners of their partitions. At first every worker owns some of each prompt class."""

    def __init__(self, clock: Clock, logs: Logs, pipeline: Pipeline, system: SimulatedSystem, watch: Observer) -> None:
        self._clock, self._logs, self._pipeline, self._system = clock, logs, pipeline, system
        writer = Writer(system)
        self.workers = [
            SimulatedWorker(n, clock, logs, system, writer, watch, self._shed) for n in range(system.engines)
        ]
        self._numbers = {worker.name: number for number, worker in enumerate(self.workers)}
        stages = [name for names in pipeline.models().values() for name in names]
        self.partitions = {f"{pipeline.name}.{name}": system.partitions for name in stages}
        self._owners = {name: [p % system.engines for p in range(n)] for name, n in self.partitions.items()}
        self._cancelled: dict[str, list[Cancelled]] = {}
        self._plan: Plan | None = None
        self._gone: set[int] = set()  # whose session has expired
        self._settles = 0
        for name in stages:
            logs.read(topic_names.work_topic(pipeline.name, name), self._reader(f"{pipeline.name}.{name}"))
        logs.read(topic_names.control_topic(pipeline.name), self._control)
        for number, at_s in system.lost:
            clock.at(at_s, self._lose, number)

    @property
    def alive(self) -> list[SimulatedWorker]:
        """All that can still speak."""
        return [worker for worker in self.workers if not worker.is_lost]

    def loads(self) -> list[Load]:
        """What each worker tells of itself now."""
        return [worker.load(self._owned(self._numbers[worker.name])) for worker in self.alive]

    def follow(self, plan: Plan) -> None:
        """The plan has come to the workers: they join their group again to carry it out."""
        self._plan = plan
        self._rebalance()

    def _reader(self, prompt_class: str) -> Reader:
        owners = self._owners[prompt_class]

        def take(partition: int, offset: int, at_ms: int, value: bytes) -> None:
            work = _decode_work(value)
            if any(_is_of(scope, work) for scope in self._cancelled.get(work.request, ())):
                return
            self.workers[owners[partition]].take(QueuedWork(work, prompt_class, partition, at_ms))

        return take

    def _control(self, partition: int, offset: int, at_ms: int, value: bytes) -> None:
        """What is over is aborted."""
        record = _decode_control(value)
        if isinstance(record, Cancelled):
            self._cancelled.setdefault(record.request, []).append(record)
        for worker in self.workers:
            worker.over(record.request, lambda item: _is_of(record, item.work))

    def _shed(self, request: str) -> None:
        """It can no longer meet its deadline: it ends as a whole."""
        told = Cancel(request, "", Status.SHED, "it could no longer meet its deadline")
        self._logs.append(topic_names.home_topic(self._pipeline.name, self._pipeline.root), encode(told))

    def _owned(self, number: int) -> dict[str, list[int]]:
        return {name: [p for p, each in enumerate(mine) if each == number] for name, mine in self._owners.items()}

    # --- the consumer group

    def _rebalance(self) -> None:
        """From now on workers begin nothing new, until all have joined; one that is lost is waited for."""
        self._settles += 1
        for worker in self.workers:
            worker.is_paused = True
        expires = [at_s + self._system.session_s for number, at_s in self._system.lost if self._is_missed(number)]
        at_s = max([self._clock.now_s, *expires]) + self._system.rebalance_s
        self._clock.at(at_s, self._settle, self._settles)

    def _is_missed(self, number: int) -> bool:
        return self.workers[number].is_lost and number not in self._gone

    def _settle(self, number: int) -> None:
        """Everybody has joined. What is not acknowledged of a partition is delivered to its new owner."""
        if number != self._settles:
            return  # another one has begun meanwhile
        self._gone |= {n for n, worker in enumerate(self.workers) if worker.is_lost}
        left = cycle([n for n in range(len(self.workers)) if n not in self._gone])
        for name, owners in self._owners.items():
            planned = self._plan.owners.get(name, []) if self._plan else []
            wanted = [self._numbers[worker] for worker in planned] or list(owners)
            owners[:] = [next(left) if n in self._gone else n for n in wanted]
        for n, worker in enumerate(self.workers):
            for item in worker.held:
                owner = self._owners[item.prompt_class][item.partition]
                if owner == n:
                    continue
                if item.run is None or worker.is_lost:
                    worker.drop(item)
                # What runs already runs on: its home hears of two runs of one attempt, and settles it.
                self.workers[owner].take(QueuedWork(item.work, item.prompt_class, item.partition, item.at_ms))
        for worker in self.alive:
            worker.is_paused = False
            worker.wake()

    def _lose(self, number: int) -> None:
        """A worker and its engine stop for good; its group hears of it once its session expires."""
        self.workers[number].is_lost = True
        self._clock.at(self._clock.now_s + self._system.session_s, self._expire, number)

    def _expire(self, number: int) -> None:
        if number not in self._gone and not any(worker.is_paused for worker in self.alive):
            self._rebalance()


def _is_of(record: ControlRecord, work: WorkItem) -> bool:
    return covers(record, work.request, work.stage, work.path, work.attempt)
