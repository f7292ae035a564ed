"""The limit: the reference workload on its engines and nothing else; no broker, no codec, no event loop, no overhead.

A discrete-event model in virtual time. The engines are those of the real system (`models/simulated.py`), so the limit
and a measurement differ by what the system adds, and by nothing else. A call goes to the engine with the fewest calls,
running and waiting. `stream`: a call starts as soon as its input is written. `barrier`: one call extracts the claims of
the whole answer, and a stage starts when the stage before has ended for the whole request.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Literal

from alto_streams.models.simulated import Job, RunningBatch, Timing
from loadtest.reference.workload import (
    CLAIM_OWN,
    EVIDENCE_OWN,
    PREFIX,
    SEARCH_S,
    SEARCH_SPREAD,
    ClaimCalls,
    ReferenceRequest,
    SentencePart,
    arrivals,
)
from loadtest.samples import Sample

Policy = Literal["barrier", "stream"]
POLICIES: dict[str, Policy] = {"barrier": "barrier", "stream": "stream", "verdict_first": "stream"}
"""How each mode runs: a verdict that is taken as soon as it is written changes nothing for the engines."""

TIMING = Timing()

Listener = Callable[[int, bool], None]
"""Hears of a call's tokens: how many there are, and whether that is all."""


def limit_run(
    policy: Policy,
    rate: float,
    requests: Sequence[ReferenceRequest],
    count: int,
    seed: int,
    engines: int = 4,
    timing: Timing = TIMING,
) -> list[Sample]:
    """`count` requests at `rate` a second, each to its end; one run of `stream` is one of `verdict_first` as well.

    A verdict is the first or the last as its line is written; `done_s` is the end of the last verdict's call.
    """
    rng = random.Random(seed)
    world = _World(rng, engines, timing)
    samples = []
    for at, request in arrivals(list(requests), rate, count, rng):
        sample = Sample(request.id, at)
        samples.append(sample)
        flow = _Flow if policy == "stream" else _BarrierFlow
        world.at(at, flow(world, request, sample).answer)
    world.go()
    return samples


class _World:
    """The clock, and the engines with what each of them is busy with."""

    def __init__(self, rng: random.Random, engines: int, timing: Timing) -> None:
        self.rng = rng
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = 0
        self._engines = [_Engine(self, timing) for _ in range(engines)]

    def at(self, when: float, happens: Callable[[], object]) -> None:
        """Let something happen; what is set for one moment happens in the order in which it was set."""
        heapq.heappush(self._events, (when, self._order, happens))
        self._order += 1

    def go(self) -> None:
        """Until nothing is left to happen."""
        events = self._events
        while events:
            self.now, _, happens = heapq.heappop(events)
            happens()

    def call(self, stage: str, own: int, output: int, listener: Listener, marks: Iterable[int] = ()) -> None:
        """Send a call to the engine with the fewest; the listener hears of its marks and of its end."""
        job = Job(stage, PREFIX[stage], own, max(1, output))
        min(self._engines, key=_calls_of).submit(job, listener, tuple(marks) or (job.output,))

    def search(self, found: Callable[[], object]) -> None:
        self.at(self.now + SEARCH_S * self.rng.uniform(*SEARCH_SPREAD), found)


class _Engine:
    def __init__(self, world: _World, timing: Timing) -> None:
        self.calls = 0  # running and waiting; one that ends counts until its step is over
        self._world = world
        self._batch = RunningBatch(timing)
        self._listeners: dict[Hashable, Listener] = {}
        self._number = 0
        self._idle = True

    def submit(self, job: Job, listener: Listener, marks: tuple[int, ...]) -> None:
        self.calls += 1
        self._number += 1
        self._listeners[self._number] = listener
        self._batch.submit(self._number, job, marks=marks)
        if self._idle:
            self._idle = False
            self._world.at(self._world.now, self._begin)

    def _begin(self) -> None:
        length = self._batch.begin()
        if length is None:
            self._idle = True
        else:
            self._world.at(self._world.now + length, self._finish)

    def _finish(self) -> None:
        ended = 0
        for progress in self._batch.finish():
            if progress.last:
                ended += 1
                self._listeners.pop(progress.key)(progress.done, True)
            else:
                self._listeners[progress.key](progress.done, False)
        self.calls -= ended
        self._begin()


def _calls_of(engine: _Engine) -> int:
    return engine.calls


class _Flow:
    """One request, each of whose calls starts as soon as its input is written."""

    def __init__(self, world: _World, request: ReferenceRequest, sample: Sample) -> None:
        self.world, self.request, self.sample = world, request, sample
        self.claims = request.claims
        self._unjudged = len(self.claims)

    def answer(self) -> None:
        """The request has come."""
        parts = self.request.sentences
        ends = list(accumulate(part.tokens for part in parts))
        checkable = {end: part for end, part in zip(ends, parts, strict=True) if part.claims}

        def listen(done: int, last: bool) -> None:
            if done == 1:
                self.sample.ttft_s = self._since()
            self.written(checkable.get(done), last)

        self.world.call("answer", self.request.own, self.request.tokens, listen, (1, *checkable))

    def written(self, part: SentencePart | None, last: bool) -> None:
        """A sentence that makes claims has ended, or the answer has."""
        if part is not None:
            self.extract(part.tokens, part.claims)

    def extract(self, tokens: int, claims: Sequence[ClaimCalls]) -> None:
        """One claims call about so many tokens of the answer."""
        ends = list(accumulate(claim.line for claim in claims))
        by_end = dict(zip(ends, claims, strict=True))
        self.world.call("claims", tokens, ends[-1], lambda done, last: self.extracted(by_end, done, last), ends)

    def extracted(self, by_end: dict[int, ClaimCalls], done: int, last: bool) -> None:
        """A claim's line has ended; the last one's with the call."""
        self.query(by_end[done])

    def query(self, claim: ClaimCalls) -> None:
        """Ask for the claim's queries."""
        waiting = _Countdown(2, partial(self.searched, claim))
        listen = partial(self.queried, claim, waiting)
        self.world.call("queries", claim.tokens, claim.queries, listen, (claim.first_query,))

    def queried(self, claim: ClaimCalls, waiting: _Countdown, done: int, last: bool) -> None:
        """One of the claim's two queries has ended."""
        self.world.search(waiting.one)

    def searched(self, claim: ClaimCalls) -> None:
        """Both searches for the claim are back."""
        self.judge(claim)

    def judge(self, claim: ClaimCalls) -> None:
        """Ask for the claim's verdict."""

        def listen(done: int, last: bool) -> None:
            sample = self.sample
            if done == claim.verdict_line:
                sample.last_verdict_s = self._since()
                if sample.first_verdict_s is None:
                    sample.first_verdict_s = sample.last_verdict_s
            if last:
                self._unjudged -= 1
                if not self._unjudged:
                    sample.done_s = self._since()

        self.world.call("verdict", CLAIM_OWN + EVIDENCE_OWN, claim.verdict, listen, (claim.verdict_line,))

    def _since(self) -> float:
        return self.world.now - self.sample.at_s


class _BarrierFlow(_Flow):
    """One request, each of whose stages starts when the stage before has ended for all of it."""

    def __init__(self, world: _World, request: ReferenceRequest, sample: Sample) -> None:
        super().__init__(world, request, sample)
        self._all_queried = _Countdown(len(self.claims), self._search_all)
        self._all_searched = _Countdown(len(self.claims), partial(self._each, self.judge))

    def written(self, part: SentencePart | None, last: bool) -> None:
        if last:
            self.extract(self.request.tokens, self.claims)

    def extracted(self, by_end: dict[int, ClaimCalls], done: int, last: bool) -> None:
        if last:
            self._each(self.query)

    def queried(self, claim: ClaimCalls, waiting: _Countdown, done: int, last: bool) -> None:
        if last:
            self._all_queried.one()

    def searched(self, claim: ClaimCalls) -> None:
        self._all_searched.one()

    def _search_all(self) -> None:
        for claim in self.claims:
            both = _Countdown(2, partial(self.searched, claim))
            self.world.search(both.one)
            self.world.search(both.one)

    def _each(self, ask: Callable[[ClaimCalls], None]) -> None:
        for claim in self.claims:
            ask(claim)


class _Countdown:
    """Calls when so many things have happened."""

    __slots__ = ("_left", "_then")

    def __init__(self, count: int, then: Callable[[], object]) -> None:
        self._left, self._then = count, then

    def one(self) -> None:
        """One of them has."""
        self._left -= 1
        if not self._left:
            self._then()
