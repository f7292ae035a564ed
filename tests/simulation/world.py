"""A world in which the real shells run a pipeline on a simulated log, with faults drawn from a budget.

Which callback of which process is next, what dies, what is said twice and when the clock jumps is all drawn from one
generator, so a seed replays exactly. Time is virtual: it passes when nobody has anything left to do, or where a fault
lets it jump.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable

import msgspec

from alto_streams.scheduler.placing import Ask, Placed
from alto_streams.wire.records import Call, Cancel, Context, Mode, Raw, Request, encode
from alto_streams.wire.topic_names import home_topic, requests_topic, results_topic, work_topic
from tests.simulation.chaos import Chaos
from tests.simulation.engine import grid
from tests.simulation.faults import CHANCE, NONE, WILD, Faults, Violation
from tests.simulation.group import Group
from tests.simulation.log import Log, Place
from tests.simulation.loop import Scheduler
from tests.simulation.rows import Kept
from tests.simulation.script import MAX_TOKENS, Question, Script, pipeline, write_script
from tests.simulation.virtual_time import in_virtual_time
from tests.simulation.workers import LMWorker, StageWorker, Worker

__all__ = ["NONE", "WILD", "Faults", "Violation", "World"]

MAX_STEPS = 200_000
PARTITIONS = 2


class World:
    """One run of some requests, to its end."""

    pipeline = pipeline

    def __init__(
        self,
        seed: int,
        faults: Faults,
        *,
        mode: Mode = Mode.STREAM,
        requests: int | None = None,
        cancels: bool = False,
        malformed: float = 0.06,
    ) -> None:
        self.seed, self.rng, self.faults = seed, random.Random(seed), faults
        self.scheduler = Scheduler(self.rng, 1_000.0)
        self.silence_ms, self.max_attempts, self.horizon_ms = 30_000, 1_000, 3_600_000
        self.started_ms, self.done_ms = self.now_ms, 0
        self.struck = Counter[str]()
        self.with_tokens, self.slots = self.rng.random() < 0.5, self.rng.randint(1, 4)
        self.pace_s = faults.pace_s
        self.budget, self._next_disturbance = dict(faults.budget), self._soon()
        self.pauses = faults.pauses
        self.chores: list[Callable[[], None]] = []  # what is to happen at some time that nobody knows
        self._chaos = Chaos(self)
        self._failure: str | None = None
        self.log = Log(PARTITIONS, lambda: self.now_ms)
        self.kept = Kept(self)
        self.stage_workers: list[StageWorker] = []
        self.lm_workers: list[LMWorker] = []
        self.groups: dict[str, Group] = {}
        self.scripts: dict[str, Script] = {}
        for n in range(requests or self.rng.choice((1, 1, 2))):
            self.scripts[self._new_id()] = write_script(f"r{n}", mode, self.rng, malformed=malformed)
        self.cancelled = self.rng.choice(list(self.scripts)) if cancels else None
        self.to_cancel = self.cancelled

    @property
    def now_ms(self) -> int:
        return self.scheduler.now_ms

    # --- what the processes and the broker use

    def strikes(self, fault: str) -> bool:
        """Whether this fault happens here and now."""
        if not self.budget.get(fault) or self.rng.random() >= CHANCE[fault]:
            return False
        self.budget[fault] -= 1
        self.struck[fault] += 1
        return True

    def place(self, ask: Ask) -> Placed:
        """The partition of a work item: a plan may choose any."""
        return Placed(self.rng.randrange(PARTITIONS))

    def over(self, request: str, path: str) -> None: ...

    def forget(self, request: str) -> None: ...

    def fail(self, what: str) -> None:
        """Something has gone wrong for good."""
        self._failure = self._failure or what

    def ends_itself(self, worker: Worker) -> None:
        """A process exits because of an error that it cannot go on with; its supervisor starts another one."""
        self.struck["ended itself"] += 1
        self.chores.append(lambda: None if worker.loop.dead else self._chaos.kill(worker))

    def land(self, place: Place, key: bytes | None, value: bytes | None) -> None:
        """Append what a producer has sent; some of it is lost, or appended once more."""
        kind, _, _ = place[0].partition(".")
        if value is None or kind not in ("chunks", "work", "requests", "results"):
            return self.log.append(place, key, value)
        if kind == "chunks":
            if value.startswith(b'{"type":"chunk"') and b'"seq":0,' not in value:  # a run that nobody heard of is none
                if self.strikes("tail lost" if b'"end":' in value else "hole"):
                    return None
            elif value.startswith(b'{"type":"result"') and self.strikes("map lost"):
                return None
            elif value.startswith(b'{"type":"retract"') and self.strikes("late retract"):
                return self.land_later(place, [(key, value)])
        elif kind == "work" and self.strikes("twice"):
            self.log.append((place[0], self.rng.randrange(PARTITIONS)), key, value)
        self.log.append(place, key, value)
        if self.strikes("duplicate"):
            self.land_later(place, [(key, value)])
        return None

    def land_later(self, place: Place, records: list[tuple[bytes | None, bytes | None]]) -> None:
        """Append these in their order, at some time."""

        def land() -> None:
            self.log.append(place, *records.pop(0))
            if records:
                self.some_time(land)

        self.some_time(land)

    def expect_call(self, stage: str, call: Call, prefix: str, prefix_tokens: list[int] | None) -> str:
        """The whole output of a call, once it is sure that the call asks for the right thing."""
        said = call.messages[-1].content
        whole = next((s.outputs[stage, said] for s in self.scripts.values() if (stage, said) in s.outputs), None)
        if whole is None:
            raise self.violated(f"{stage} was asked {said!r}, which is nobody's prompt")
        if not whole.startswith(prefix):
            raise self.violated(f"{stage} is to continue from {prefix!r}, which was never said")
        spent = len(prefix) if self.with_tokens else sum(1 for _ in grid(prefix))
        if call.max_tokens != MAX_TOKENS - spent:
            raise self.violated(f"{stage}: {call.max_tokens} tokens left after {prefix!r}")
        if self.with_tokens and (prefix_tokens or []) != [ord(c) for c in prefix]:
            raise self.violated(f"{stage}: the tokens of a prefix are not its text")
        return whole

    def question(self, prompt: str) -> bytes:
        """The input of a request."""
        return msgspec.json.encode(Question(prompt))

    def violated(self, what: str) -> Violation:
        """For whoever is called by a shell, and finds that something is wrong."""
        self.fail(what)  # whatever the shell makes of it
        return Violation(what)

    # --- the run

    def run(self) -> None:
        """Until nobody has anything left to do, ever. Raises `Violation` if that does not come."""
        with in_virtual_time(self.scheduler):
            try:
                self._populate()
                self._until_quiet()
                if self.faults.aftermath:
                    self._say_all_again()
            finally:
                for worker in [*self.stage_workers, *self.lm_workers]:
                    worker.kill()

    def _populate(self) -> None:
        for stage in self.pipeline.stages:
            topics = [home_topic(self.pipeline.name, stage)]
            topics += [requests_topic(self.pipeline.name)] if stage == self.pipeline.root else []
            self.groups[stage] = Group(self, topics, copartitioned=True)
            for _ in range(self.rng.choice((1, 1, 2))):
                self.start_stage(stage)
        for model, stages in self.pipeline.models().items():
            topics = [work_topic(self.pipeline.name, stage) for stage in stages]
            self.groups["model:" + model] = Group(self, topics, copartitioned=False)
            for _ in range(self.rng.choice((1, 2))):
                self.start_lm(model, topics)
        for request, script in self.scripts.items():
            asked = Raw(self.question(script.prompt))
            record = Request(request, self.pipeline.name, asked, Context(script.mode))
            self.tell(requests_topic(self.pipeline.name), request, encode(record))

    def start_stage(self, stage: str) -> None:
        """A new process of a stage's app."""
        worker = StageWorker(self, self.groups[stage], stage)
        self.stage_workers.append(worker)
        worker.group.join(worker)

    def start_lm(self, model: str, topics: list[str]) -> None:
        """A new process of a model's app."""
        worker = LMWorker(self, self.groups["model:" + model], model, topics)
        self.lm_workers.append(worker)
        worker.group.join(worker)

    def _until_quiet(self) -> None:
        scheduler, rng = self.scheduler, self.rng
        bound = scheduler.steps + MAX_STEPS
        while self._failure is None and not scheduler.errors:
            if scheduler.steps >= self._next_disturbance:
                self._next_disturbance = scheduler.steps + self._soon()
                self._chaos.disturb()
            if not scheduler.is_idle:
                scheduler.step()
            elif self.chores and rng.random() >= self.faults.time_first:
                self.do_a_chore()
            elif not scheduler.pass_time():
                if not self.chores:
                    return
                self.do_a_chore()
            if scheduler.steps > bound:
                raise Violation(f"still busy after {MAX_STEPS} steps")
        raise Violation(self._failure or "; ".join(scheduler.errors))

    def _soon(self) -> int:
        return 1 + int(self.rng.expovariate(1 / self.faults.every_steps))

    def some_time(self, do: Callable[[], None]) -> None:
        """Let it happen, nobody knows when."""
        if self.rng.random() < 0.3:
            self.scheduler.soon(None, do)
        else:
            self.chores.append(do)

    def do_a_chore(self) -> None:
        """Let one of these things happen now."""
        self.chores.pop(self.rng.randrange(len(self.chores)))()

    def tell(self, topic: str, request: str, value: bytes) -> None:
        """Append what a client or a gateway says."""
        key = request.encode()
        self.log.append(self.log.place_of(topic, key, None), key, value)

    def cancel(self) -> None:
        """The client that wants to gives its request up."""
        request, self.to_cancel = self.to_cancel, None
        if request is not None:
            self.tell(home_topic(self.pipeline.name, self.pipeline.root), request, encode(Cancel(request, "")))

    # --- after the end

    def _say_all_again(self) -> None:
        """What comes again after the end changes nothing; after the horizon nothing at all is left."""
        told = len(self.log.all_of(results_topic(self.pipeline.name)))
        self._repeat_some()
        self._until_quiet()
        for worker in [*self.stage_workers, *self.lm_workers]:
            worker.commit()  # nobody lags behind by an hour
        self.scheduler.now_s += 1 + self.horizon_ms / 1000
        self._sweep()
        # Nothing appends a request to its root but what reads `requests`, and it has read these.
        self._repeat_some(but=home_topic(self.pipeline.name, self.pipeline.root))
        self._until_quiet()
        self.budget.clear()  # a sweep that a rebalance has interrupted, or a record that came in it: the next one
        self.scheduler.now_s += 1 + self.horizon_ms / 1000  # a root that was taken over since then remembers as long
        self._sweep()
        self._until_quiet()
        if len(self.log.all_of(results_topic(self.pipeline.name))) != told:
            raise Violation("a client hears something after the end of its request")

    def _sweep(self) -> None:
        for worker in self.stage_workers:
            worker.loop.run_in(worker.sweep)

    def _repeat_some(self, but: str | None = None) -> None:
        """Append what is in the log once more; of the topic `but` no requests."""
        names = [t for t in self.log.topics() if t.partition(".")[0] in ("chunks", "work", "requests")]
        places = [(name, partition) for name in names for partition in range(PARTITIONS)]
        for place in self.rng.choices([p for p in places if self.log.end(p)], k=12):
            (each,) = self.log.read(place, self.rng.randrange(self.log.end(place)), 1)
            if place[0] != but or b'"type":"request"' not in (each.value or b""):
                self.log.append(place, each.key, each.value)

    def _new_id(self) -> str:
        random_bits = self.rng.getrandbits(74)
        bits = (self.now_ms << 80) | (7 << 76) | (random_bits >> 62 << 64) | (2 << 62) | (random_bits & (1 << 62) - 1)
        return str(uuid.UUID(int=bits))
