"""The engines, with the workers in front of them: work items become runs, whose text goes to the calls' homes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from alto_streams.agents.coalesce import Coalescer, Gathered
from alto_streams.ancestry import is_under
from alto_streams.models.protocol import CallRejected, Piece
from alto_streams.models.scripted import script_parts
from alto_streams.models.simulated import Batch, Job, token_count
from alto_streams.records import Cancelled, Chunk, ControlRecord, End, Ended, Status, Work, decoder, encode
from alto_streams.resume import finished
from alto_streams.simulator.clock import Clock, Logs
from alto_streams.simulator.placing import EngineLoad
from alto_streams.simulator.words import SimulatedSystem
from alto_streams.tables.placing import Ask, Placed

QUIET_S = 5.0  # a worker with nothing to say for so long tells the home that it is there
LOOK_S = 1.0  # how often a worker looks at the clock
MOST_PLANS = 10_000

_decode_work = decoder(Work)
_decode_control: Callable[[bytes], ControlRecord] = decoder(ControlRecord)  # type: ignore[arg-type]


class _Plan(NamedTuple):
    """What a run writes, token by token, how it ends, and at which tokens its worker is told."""

    parts: list[str]
    ending: str
    marks: Sequence[int]


class Engines:
    """All engines of a deployment; each is a partition of every stage's work topic."""

    def __init__(self, clock: Clock, logs: Logs, pipeline: str, system: SimulatedSystem) -> None:
        self._clock, self._logs, self._pipeline, self._system = clock, logs, pipeline, system
        self._batches = [Batch(system.timing) for _ in range(system.engines)]
        self._loads = [EngineLoad() for _ in self._batches]
        self._stepping = [False for _ in self._batches]
        self._looked_s = [0.0 for _ in self._batches]
        self._running: list[dict[_Run, None]] = [{} for _ in self._batches]
        self._runs: dict[str, dict[tuple[str, str], _Run]] = {}
        self._cancelled: dict[str, list[Cancelled]] = {}
        self._plans: dict[tuple[object, ...], tuple[object, _Plan]] = {}
        self._begun = 0

    def place(self, ask: Ask) -> Placed:
        """Which engine takes an attempt: what every home asks as it dispatches."""
        engine = self._system.place(ask.stage, ask.request, ask.path, ask.attempt, self._loads)
        self._loads[engine].calls += 1
        return Placed(engine)

    def over(self, request: str, path: str) -> None:
        """Nothing: an engine is told by its own calls what it has."""

    def forget(self, request: str) -> None:
        """Nothing, as above."""

    def take(self, engine: int, offset: int, at_ms: int, value: bytes) -> None:
        """A work item has come to an engine's worker."""
        work = _decode_work(value)
        if any(_covers(scope, work.stage, work.path) for scope in self._cancelled.get(work.request, ())):
            self._loads[engine].calls -= 1
            return
        self._begun += 1
        run = _Run(work, engine, f"run-{self._begun}", self._clock, self._logs)
        prompt_class = f"{self._pipeline}.{work.stage}"
        try:
            job, marks = self._job(run, work, prompt_class)
        except CallRejected as error:
            self._loads[engine].calls -= 1
            run.finish(End(Status.FAILED, "rejected", error.cause))
            return
        self._runs.setdefault(work.request, {})[work.stage, work.path] = run
        self._running[engine][run] = None
        self._batches[engine].submit(run, job, marks=marks)
        if not self._stepping[engine]:
            self._stepping[engine] = True
            self._clock.at(self._clock.now_s, self._step, engine, last=True)

    def control(self, partition: int, offset: int, at_ms: int, value: bytes) -> None:
        """What is over is aborted."""
        record = _decode_control(value)
        runs = self._runs.get(record.request, {})
        if isinstance(record, Ended):
            run = runs.get((record.stage, record.path))
            if run is not None and run.work.attempt <= record.attempt:
                self._abort(run)
            return
        self._cancelled.setdefault(record.request, []).append(record)
        for run in [run for (stage, path), run in runs.items() if _covers(record, stage, path)]:
            self._abort(run)

    def _job(self, run: _Run, work: Work, prompt_class: str) -> tuple[Job, Sequence[int]]:
        """What a work item costs, and at which tokens its worker is told. Raises `CallRejected`."""
        ended = finished(work.call, work.prefix)
        plan = _Plan([], ended or "stop", [])
        if ended is None:
            text = self._system.script(prompt_class, work.call)
            if text is None:
                raise CallRejected(f"nothing is recorded for this call of prompt class {prompt_class!r}")
            plan = self._plan(text, work, prompt_class)
        run.plan = plan
        fixed, own = self._system.lengths(prompt_class, work.call)
        own += token_count(work.prefix) if work.prefix else 0
        run.prompt_tokens = fixed + own
        return Job(prompt_class, fixed, own, max(1, len(plan.parts))), plan.marks

    def _plan(self, text: str | Sequence[str], work: Work, prompt_class: str) -> _Plan:
        """How a run writes what is recorded; the same recording is cut once."""
        call = work.call
        key = (id(text), work.prefix, work.flush, call.max_tokens, *call.stop)
        known, plan = self._plans.get(key, (None, None))
        if plan is None or known is not text:
            parts, ending = script_parts(text, call, work.prefix, prompt_class)
            plan = _Plan(parts, ending, _marks(parts, work.flush))
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[key] = (text, plan)
        return plan

    def _step(self, engine: int) -> None:
        length = self._batches[engine].begin()
        self._loads[engine].running = self._batches[engine].running
        if length is None:
            self._stepping[engine] = False
        else:
            self._clock.at(self._clock.now_s + length, self._finish, engine)

    def _finish(self, engine: int) -> None:
        for progress in self._batches[engine].finish():
            run: Any = progress.key
            run.reach(progress.done, progress.last)
            if progress.last:
                self._forget(run)
                run.finish(None)
        if self._clock.now_s - self._looked_s[engine] > LOOK_S:
            self._looked_s[engine] = self._clock.now_s
            for run in self._running[engine]:
                run.look()
        # What follows from these tokens at this very moment is in time for the next step.
        self._clock.at(self._clock.now_s, self._step, engine, last=True)

    def _abort(self, run: _Run) -> None:
        self._batches[run.engine].abort(run)
        self._forget(run)

    def _forget(self, run: _Run) -> None:
        self._loads[run.engine].calls -= 1
        del self._running[run.engine][run]
        runs = self._runs[run.work.request]
        del runs[run.work.stage, run.work.path]
        if not runs:
            del self._runs[run.work.request]


class _Run:
    """One run of one attempt: what a worker appends to the call's home."""

    def __init__(self, work: Work, engine: int, name: str, clock: Clock, logs: Logs) -> None:
        self.work, self.engine = work, engine
        self.plan = _Plan([], "stop", [])
        self.prompt_tokens = 0
        self._name, self._clock, self._logs = name, clock, logs
        self._coalescer = Coalescer(work.flush)
        self._done = self._seq = 0
        self._told_s = clock.now_s

    def reach(self, done: int, last: bool) -> None:
        """So many of its tokens are there; the last go with the end."""
        new = self.plan.parts[self._done : done]
        piece = Piece("".join(new), count=len(new))
        if last:
            self._coalescer.hold(piece)
        elif new:
            self._add(piece)
        self._done = done

    def look(self) -> None:
        """Tell the home that it goes on, if that has heard nothing for a while: a line is long, or the engine slow."""
        if self._clock.now_s - self._told_s > QUIET_S:
            self._chunk(Gathered(), None)

    def finish(self, refused: End | None) -> None:
        """It has ended; or it never began, since the engine refuses the call."""
        end = refused or End(
            Status.OK, self.plan.ending, prompt_tokens=self.prompt_tokens, output_tokens=len(self.plan.parts)
        )
        self._chunk(self._coalescer.rest(), end)

    def _add(self, piece: Piece) -> None:
        due = self._coalescer.add(piece, int(self._clock.now_s * 1000))
        if due is not None:
            self._chunk(due, None)

    def _chunk(self, held: Gathered, end: End | None) -> None:
        work = self.work
        where = (work.request, work.path, work.attempt, self._name, self._seq)
        self._seq += 1
        self._append(encode(Chunk(*where, held.text, held.count, held.tokens or None, held.logprobs or None, end)))

    def _append(self, value: bytes) -> None:
        self._told_s = self._clock.now_s
        self._logs.append(self.work.home.topic, value, self.work.home.partition)


def _marks(parts: Sequence[str], flush: str) -> Sequence[int]:
    """The tokens at which a worker may have something to say: where nothing but whole lines are published, those that
    end a line; else every one."""
    return [n for n, part in enumerate(parts, 1) if n == len(parts) or "\n" in part] if flush == "line" else ()


def _covers(scope: Cancelled, stage: str, path: str) -> bool:
    return (not scope.stages or stage in scope.stages) and is_under(path, scope.path)
