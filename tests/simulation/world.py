"""A world in which a pipeline runs on a simulated log, in an order drawn from a seed, with faults drawn from a budget.

Every actor does one step at a time; which one is next, what dies, what is said twice and when the clock jumps is all
drawn from one generator, so a seed replays exactly. Time is virtual: it passes only when nobody has anything left to
do, or where a jump is among the faults.
"""

from __future__ import annotations

import heapq
import itertools
import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from alto_streams.records import Cancel, Context, ControlRecord, Ended, Mode, Raw, Request, Work, decoder, encode
from alto_streams.topic_names import home_topic, requests_topic
from tests.simulation.home import Home
from tests.simulation.log import Log
from tests.simulation.script import MAX_TOKENS, Question, Script, pipeline, write_script
from tests.simulation.workers import Forwarder, LMRun, MapRun, WorkQueue

decode_control = decoder(ControlRecord)  # type: ignore[arg-type,var-annotated]

MAX_STEPS = 200_000


class Violation(AssertionError):
    """Something that must never happen has; the seed replays it."""


class Actor(Protocol):
    def step(self) -> bool: ...


@dataclass(frozen=True)
class Faults:
    """How many of each fault one world has at most, and how likely each is where it could strike."""

    budget: dict[str, int] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)


NONE = Faults()
CHANCE = {
    "home crash": 0.02,
    "run death": 0.05,
    "duplicate": 0.05,
    "twice": 0.2,
    "hole": 0.05,
    "engine error": 0.1,
    "map lost": 0.1,
    "jump": 0.01,
}
# Whatever dies here is noticed without the clock: by a second start, a hole or a new owner.
CALM = Faults({"home crash": 6, "run death": 6, "twice": 3, "hole": 2, "engine error": 3}, CHANCE)
WILD = Faults(
    {
        "home crash": 24,
        "run death": 8,
        "duplicate": 20,
        "twice": 5,
        "hole": 3,
        "engine error": 4,
        "map lost": 2,
        "jump": 4,
    },
    CHANCE,
)


class World:
    """One run of some requests. `mutants` switches off rules, to show that their absence is noticed."""

    def __init__(
        self,
        seed: int,
        faults: Faults,
        *,
        mode: Mode = Mode.STREAM,
        requests: int = 2,
        cancels: bool = False,
        malformed: float = 0.06,
        mutants: frozenset[str] = frozenset(),
    ) -> None:
        self.seed, self.rng, self.mutants = seed, random.Random(seed), mutants
        self.now_ms, self.silence_ms, self.max_attempts = 1_000_000, 30_000, 1_000
        self.started_ms, self.done_ms = self.now_ms, 0
        self.applied, self.struck = 0, Counter[str]()
        self.with_tokens = self.rng.random() < 0.5
        self._faults, self._budget = faults, dict(faults.budget)
        self._ids = itertools.count()
        self._ready: list[Actor] = []
        self._is_ready: set[int] = set()
        self._timers: list[tuple[int, int, Home, int, Callable[[], None]]] = []
        self._over: dict[tuple[str, str, str], int] = {}
        self._late: list[tuple[str, str, bytes, int | None]] = []
        self.log = Log(2, lambda: self.now_ms)
        self.homes = [Home(self, stage, p) for stage in pipeline.stages for p in range(self.log.partitions)]
        self._others: list[Actor] = [Forwarder(self, p) for p in range(self.log.partitions)]
        self._others += [
            WorkQueue(self, stage, p)
            for stages in pipeline.models().values()
            for stage in stages
            for p in range(self.log.partitions)
        ]
        self.scripts: dict[str, Script] = {}
        for n in range(requests):
            self._ask(f"request-{seed}-{n}", write_script(f"r{n}", mode, self.rng, malformed=malformed))
        self.cancelled = self.rng.choice(list(self.scripts)) if cancels else None

    # --- what actors use

    def append(self, topic: str, key: str, value: bytes, partition: int | None = None) -> None:
        """Append a record; some are appended once more, later."""
        self.log.append(topic, key, value, partition)
        if topic.startswith("control."):
            record = decode_control(value)
            if isinstance(record, Ended):
                place = (record.request, record.stage, record.path)
                self._over[place] = max(self._over.get(place, 0), record.attempt)
        elif self.strikes("duplicate"):
            self._late.append((topic, key, value, partition))

    def is_over(self, asked: Ended) -> bool:
        """Whether the control topic says so of an attempt."""
        return self._over.get((asked.request, asked.stage, asked.path), 0) >= asked.attempt

    def wake(self, actor: Actor) -> None:
        """It has something to do."""
        if id(actor) not in self._is_ready:
            self._is_ready.add(id(actor))
            self._ready.append(actor)

    spawn = wake

    def at(self, at_ms: int, home: Home, fire: Callable[[], None]) -> None:
        """A timer in the memory of a home: it dies with it."""
        heapq.heappush(self._timers, (at_ms, next(self._ids), home, home.incarnation, fire))

    def run_map(
        self, home: Home, partition: int, stage: str, request: str, path: str, attempt: int, arguments: dict[str, Any]
    ) -> None:
        """Start a map function."""
        place = (home_topic(pipeline.name, stage), partition)
        self.spawn(MapRun(self, home, place, request, path, attempt, arguments))

    def place(self, stage: str, request: str, path: str, attempt: int) -> int:
        """The partition of a work item."""
        return zlib.crc32(f"{stage}{request}{path}{attempt}".encode()) % self.log.partitions

    def next_id(self) -> int:
        return next(self._ids)

    def strikes(self, fault: str) -> bool:
        """Whether this fault happens here and now."""
        if not self._budget.get(fault) or self.rng.random() >= self._faults.chance[fault]:
            return False
        self._budget[fault] -= 1
        self.struck[fault] += 1
        return True

    def expect_call(self, work: Work) -> str:
        """The whole output of a call, once it is sure that the call asks for the right thing."""
        script, said = self.scripts[work.request], work.call.messages[-1].content
        whole = script.outputs.get((work.stage, said))
        if whole is None:
            raise Violation(f"{work.stage} at {work.path} was asked {said!r}, which is nobody's prompt")
        if not whole.startswith(work.prefix):
            raise Violation(f"{work.stage} at {work.path} is to continue from {work.prefix!r}, which was never said")
        if work.call.max_tokens != MAX_TOKENS - len(work.prefix):
            raise Violation(f"{work.stage} at {work.path}: {work.call.max_tokens} tokens left after {work.prefix!r}")
        if self.with_tokens and (work.prefix_tokens or []) != [ord(c) for c in work.prefix]:
            raise Violation(f"{work.stage} at {work.path}: its prefix's tokens are not its text")
        return whole

    # --- the run

    def run(self) -> None:
        """Until nobody has anything left to do, ever. Raises `Violation` if that does not come."""
        for _ in range(MAX_STEPS):
            self._disturb()
            if self._ready:
                self._step()
            elif self._late:
                self._say_again()
            elif not self._pass_time():
                return
        raise Violation(f"still busy after {MAX_STEPS} steps")

    def _step(self) -> None:
        n = self.rng.randrange(len(self._ready))
        actor = self._ready[n]
        if isinstance(actor, LMRun) and self.strikes("run death"):
            self._drop(n)
            actor.die()
        elif not actor.step():
            self._drop(n)

    def _drop(self, n: int) -> None:
        actor = self._ready[n]
        self._ready[n] = self._ready[-1]
        self._ready.pop()
        self._is_ready.discard(id(actor))

    def _disturb(self) -> None:
        if self.strikes("home crash"):
            # One that is in the middle of something: the others lose only what the log gives back at once.
            busy = [home for home in self.homes if id(home) in self._is_ready]
            self.rng.choice(busy or self.homes).crash()
        if self._late and self.rng.random() < 0.02:
            self._say_again()
        if self._timers and self.strikes("jump"):
            self._pass_time()
        if self.cancelled is not None and self.rng.random() < 0.01:
            self._cancel(self.cancelled)
            self.cancelled = None

    def _say_again(self) -> None:
        self.log.append(*self._late.pop(self.rng.randrange(len(self._late))))

    def _pass_time(self) -> bool:
        while self._timers:
            at_ms, _, home, incarnation, fire = heapq.heappop(self._timers)
            self.now_ms = max(self.now_ms, at_ms)
            if home.incarnation == incarnation:
                fire()
                return True
        return False

    def _ask(self, request: str, script: Script) -> None:
        self.scripts[request] = script
        asked = Raw(msgspec.json.encode(Question(script.prompt)))
        record = Request(request, pipeline.name, asked, Context(script.mode))
        self.append(requests_topic(pipeline.name), request, encode(record))

    def _cancel(self, request: str) -> None:
        self.append(home_topic(pipeline.name, pipeline.root), request, encode(Cancel(request, "")))
