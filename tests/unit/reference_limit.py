"""The limit once more, as a slow oracle: what the fast model, the engines and the simulator are compared with.

It shares no code with them. A request is a graph of tasks, and a task starts once every token that it waits for has
been written. The modes differ in nothing but these edges: `stream` waits for the end of a sentence, of a claim's line,
of a query; `barrier` for the whole of what all calls of the stage before it write. Each token of each call is told.

An engine takes 12 ms a step, 0.25 ms for each sequence that runs and 0.09 ms for each token that it prefills; it runs
64 sequences, and takes in no more once 2,048 tokens are to be prefilled in a step. Calls go to the engine that has the
fewest, and wait there in the order in which they came. A prefix is prefilled once on each engine.
"""

from __future__ import annotations

import heapq
import json
import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

PREFIXES = {"answer": 40, "claims": 580, "queries": 300, "verdict": 340}
STEP_S, RUNNING_S, PREFILLED_S = 0.012, 0.00025, 0.00009
MOST_RUNNING, MOST_PREFILLED = 64, 2_048
ENGINES = 4
WARM_UP = 0.15

Told = Callable[[int], object]
"""Hears how many tokens of a call have been written, at each of them."""


@dataclass
class Row:
    """A recorded request, in tokens. `sentences`: each with the numbers of its claims."""

    prompt: int
    sentences: list[tuple[int, list[int]]]
    claims: list[int]
    queries: list[int]
    verdicts: list[int]


@dataclass
class Result:
    """Seconds from the arrival to the last verdict of the requests that count, and the share of all that ended."""

    mean_s: float
    p50_s: float
    p99_s: float
    ended: float


def read(path: Path) -> list[Row]:
    """The rows with claims. What the file does not say of a length is drawn, always alike."""
    rng, rows = random.Random(7), []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        count = len(row["claims"])
        if not count:
            continue
        texts = [text for text in re.split(r"(?<=[.!?])\s+", row["response"].strip()) if text]
        places = [min(len(texts) - 1, n * len(texts) // count) for n in range(count)]
        sentences = [
            (_tokens(text), [n for n, at in enumerate(places) if at == place]) for place, text in enumerate(texts)
        ]
        claims = [_tokens(each["claim"]) for each in row["claims"]]
        queries = [rng.randint(20, 40) for _ in claims]
        rows.append(Row(_tokens(row["prompt"]), sentences, claims, queries, [rng.randint(50, 110) for _ in claims]))
    return rows


def _tokens(text: str) -> int:
    return max(2, round(1.35 * len(text.split())))


class Clock:
    """Things that happen, in the order of their times; of one time, in the order in which they were set."""

    def __init__(self) -> None:
        self.now = 0.0
        self._set: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def at(self, when: float, happens: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._set, (when, self._count, happens))

    def run(self) -> None:
        while self._set:
            self.now, _, happens = heapq.heappop(self._set)
            happens()


@dataclass
class _Sequence:
    stage: str
    prefix: int
    own: int
    output: int
    told: Told
    written: int = 0


class Engine:
    """Writes a token of every sequence that runs at each step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._cached: set[str] = set()
        self._steps = False

    @property
    def calls(self) -> int:
        """Waiting and running; who ends in a step runs until the step is over."""
        return len(self._waiting) + len(self._running)

    def submit(self, stage: str, prefix: int, own: int, output: int, told: Told) -> None:
        self._waiting.append(_Sequence(stage, prefix, own, output, told))
        if not self._steps:
            self._steps = True
            self._clock.at(self._clock.now, self._step)

    def _step(self) -> None:
        prefilled = 0
        while self._waiting and len(self._running) < MOST_RUNNING and prefilled < MOST_PREFILLED:
            taken = self._waiting.popleft()
            prefilled += taken.own
            if taken.stage not in self._cached:
                self._cached.add(taken.stage)
                prefilled += taken.prefix
            self._running.append(taken)
        if self._running:
            length_s = STEP_S + RUNNING_S * len(self._running) + PREFILLED_S * prefilled
            self._clock.at(self._clock.now + length_s, self._write)
        else:
            self._steps = False

    def _write(self) -> None:
        for each in self._running:
            each.written += 1
            each.told(each.written)
        self._running = [each for each in self._running if each.written < each.output]
        self._step()


@dataclass
class _Task:
    """A call, a search (of one token, which is what it finds), or the end of the request."""

    stage: str
    own: int = 0
    output: int = 1
    waits_for: int = 0
    after: dict[int, list[_Task]] = field(default_factory=dict)

    def then(self, token: int, task: _Task) -> None:
        """The other task waits for this token of this one."""
        self.after.setdefault(token, []).append(task)
        task.waits_for += 1


def _graph(row: Row, mode: str) -> _Task:
    """The tasks of a request. Returns the first one; the last one is of the stage `end`."""
    answer = _Task("answer", row.prompt + 20, sum(length for length, _ in row.sentences))
    queries = [_Task("queries", own, output) for own, output in zip(row.claims, row.queries, strict=True)]
    searches = [(_Task("search"), _Task("search")) for _ in row.claims]
    verdicts = [_Task("verdict", 60 + 400, output) for output in row.verdicts]
    end = _Task("end")
    for each in verdicts:
        each.then(min(12, each.output) if mode == "verdict_first" else each.output, end)
    if mode == "barrier":
        extracted = _Task("claims", answer.output, sum(own + 6 for own in row.claims))
        answer.then(answer.output, extracted)
        for asked in queries:
            extracted.then(extracted.output, asked)
            for search in (search for both in searches for search in both):
                asked.then(asked.output, search)
        for verdict in verdicts:
            for search in (search for both in searches for search in both):
                search.then(1, verdict)
        return answer
    written = 0
    for length, claims in row.sentences:
        written += length
        if claims:
            extracted = _Task("claims", length, sum(row.claims[n] + 6 for n in claims))
            answer.then(written, extracted)
            line = 0
            for n in claims:
                line += row.claims[n] + 6
                extracted.then(line, queries[n])
    for asked, both, verdict in zip(queries, searches, verdicts, strict=True):
        for token, search in zip((asked.output // 2, asked.output), both, strict=True):
            asked.then(token, search)
            search.then(1, verdict)
    return answer


def simulate(mode: str, rate: float, rows: list[Row], count: int, seed: int) -> Result:
    """`count` requests at `rate` a second, in the mode `barrier`, `stream` or `verdict_first`."""
    rng, clock = random.Random(seed), Clock()
    engines = [Engine(clock) for _ in range(ENGINES)]
    took: list[tuple[float, float]] = []

    def begin(task: _Task, arrived: float) -> None:
        def told(token: int) -> None:
            for each in task.after.get(token, ()):
                each.waits_for -= 1
                if not each.waits_for:
                    begin(each, arrived)

        if task.stage == "end":
            took.append((arrived, clock.now - arrived))
        elif task.stage == "search":
            clock.at(clock.now + 0.150 * rng.uniform(0.5, 1.5), lambda: told(1))
        else:
            engine = min(engines, key=lambda each: each.calls)
            engine.submit(task.stage, PREFIXES[task.stage], task.own, task.output, told)

    at = 0.0
    for _ in range(count):
        at += rng.expovariate(rate)
        first = _graph(rng.choice(rows), mode)
        clock.at(at, lambda first=first, at=at: begin(first, at))  # type: ignore[misc]
    clock.run()
    counted = sorted(each for arrived, each in took if arrived > at * WARM_UP)
    return Result(mean(counted), counted[len(counted) // 2], counted[int(len(counted) * 0.99)], len(took) / count)
