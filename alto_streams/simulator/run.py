"""Puts a deployment together and lets it run: the same requests, system and seed always give the same bytes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

from alto_streams.agents.home.entrance import Entrance
from alto_streams.define.pipeline import Pipeline
from alto_streams.scheduler.admission import Admission
from alto_streams.simulator.clients import Clients
from alto_streams.simulator.clock import EPOCH_MS, Clock, Logs
from alto_streams.simulator.experiment import NoWatch, Observer, SimulatedOutcome, SimulatedRequest, SimulatedSystem
from alto_streams.simulator.fleet import SimulatedFleet
from alto_streams.simulator.homes import Home
from alto_streams.simulator.schedulers import Scheduling
from alto_streams.simulator.virtual import SimulationError
from alto_streams.wire import topic_names
from alto_streams.wire.records import Context, Raw, Request, Status, decoder, encode
from alto_streams.wire.request_ids import request_id_at

_decode = decoder(Request)


def simulate(
    pipeline: Pipeline,
    requests: Iterable[SimulatedRequest],
    system: SimulatedSystem,
    seed: int = 1,
    watch: Observer | None = None,
) -> Iterator[SimulatedOutcome]:
    """Run requests through a deployment in virtual time; yields each one's outcome as it ends, in that order.

    The module `random` is seeded for each call of a map function; the caller finds it as it was. Whatever else such a
    function draws from (a clock, the system's randomness, numpy's) is its own to seed.

    Raises:
        SimulationError: a map function needs what has no virtual time, or a request never ends.
        ValueError: two requests have the same number, or one has none that an id may hold.
    """
    world = _World(pipeline, system, seed, watch or NoWatch())
    world.expect(requests)
    drawn = random.getstate()
    try:
        while True:
            outer = random.getstate()
            random.setstate(drawn)
            try:
                outcome = world.next_outcome()
            finally:
                drawn = random.getstate()
                random.setstate(outer)
            if outcome is None:
                return
            yield outcome
    finally:
        world.end()


class _World:
    def __init__(self, pipeline: Pipeline, system: SimulatedSystem, seed: int, watch: Observer) -> None:
        self._pipeline = pipeline
        self._clock = clock = Clock()
        self._logs = logs = Logs(clock, system.hop_s)
        self._clients = Clients(pipeline, clock)
        fleet = SimulatedFleet(clock, logs, pipeline, system, watch)
        scheduling = Scheduling(clock, fleet, pipeline, system, watch, seed)
        self._homes = [
            Home(pipeline, name, clock, logs, scheduling.placing(name), system, seed) for name in pipeline.stages
        ]
        logs.read(topic_names.results_topic(pipeline.name), self._clients.take)
        self._admission = Admission()
        self._requests = topic_names.requests_topic(pipeline.name)
        logs.read(self._requests, self._let_in)
        self._entrance = Entrance(pipeline, self._admission, math.inf)
        self._coming = 0

    def expect(self, requests: Iterable[SimulatedRequest]) -> None:
        """All requests, in any order."""
        numbers = set()
        for request in sorted(requests, key=lambda each: (each.at_s, each.number)):
            if request.number in numbers:
                raise ValueError(f"two requests have the number {request.number}")
            numbers.add(request.number)
            name = request_id_at(EPOCH_MS + int(request.at_s * 1000), request.number)
            self._clock.at(request.at_s, self._send, name, request)
        self._coming = len(numbers)

    def next_outcome(self) -> SimulatedOutcome | None:
        """Let time pass until the next request has ended; None once all have."""
        done = self._clients.done
        if not self._coming:
            return None
        if not self._clock.run(done.__len__):
            raise SimulationError(
                f"{self._pipeline.name}: nothing is left to happen, and requests {self._clients.waiting} wait: a map "
                "function waits for something that never comes"
            )
        self._coming -= 1
        outcome = done.popleft()
        self._admission.ended(outcome.request, outcome.status is Status.OK)
        return outcome

    def end(self) -> None:
        """Unwind what still runs."""
        self._clock.clear()
        for home in self._homes:
            home.loop.end()

    def _send(self, name: str, sent: SimulatedRequest) -> None:
        self._clients.expect(name, sent)
        request = Request(name, self._pipeline.name, Raw(sent.input), _context(sent))
        self._logs.append(self._requests, encode(request))

    def _let_in(self, partition: int, offset: int, at_ms: int, value: bytes) -> None:
        for topic, told in self._entrance.passed(_decode(value), at_ms, self._clock.now_ms) or ():
            self._logs.append(topic, value if told is None else encode(told))


def _context(sent: SimulatedRequest) -> Context:
    deadline_ms = None if sent.deadline_s is None else EPOCH_MS + int((sent.at_s + sent.deadline_s) * 1000)
    return Context(sent.mode, deadline_ms, sent.shed)
