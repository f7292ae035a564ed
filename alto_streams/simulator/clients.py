"""What clients see: the requests that are open, and the events that have come of each."""

from __future__ import annotations

from collections import deque

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.simulator.clock import Clock
from alto_streams.simulator.experiment import SimulatedOutcome, SimulatedRequest
from alto_streams.wire.records import Event, EventKind, Raw, Status, decoder

_decode = decoder(Event)


class _Done(msgspec.Struct):
    status: Status
    result: Raw


class _Seen(msgspec.Struct):
    request: SimulatedRequest
    ttft_s: float | None = None
    first_item_s: float | None = None
    last_item_s: float | None = None
    events: int = 0


class Clients:
    """Reads the results. `done`: outcomes in the order in which the requests have ended, for whoever takes them."""

    def __init__(self, pipeline: Pipeline, clock: Clock) -> None:
        self._clock = clock
        self._items = result_stage(pipeline)
        self._open: dict[str, _Seen] = {}
        self._read_done = decoder(_Done)
        self.done: deque[SimulatedOutcome] = deque()

    def expect(self, request: str, sent: SimulatedRequest) -> None:
        """This request is sent now."""
        self._open[request] = _Seen(sent)

    @property
    def waiting(self) -> list[int]:
        """The numbers of the requests that have not ended."""
        return [seen.request.number for seen in self._open.values()]

    def take(self, partition: int, offset: int, at_ms: int, value: bytes) -> None:
        """One event."""
        event = _decode(value)
        seen = self._open.get(event.request)
        if seen is None:
            return  # nothing counts any more once a request has ended
        latency_s = self._clock.now_s - seen.request.at_s
        seen.events += 1
        if event.kind in (EventKind.CHUNK, EventKind.ITEM) and seen.ttft_s is None:
            seen.ttft_s = latency_s
        if event.kind is EventKind.ITEM and event.stage == self._items:
            seen.last_item_s = latency_s
            if seen.first_item_s is None:
                seen.first_item_s = latency_s
        elif event.kind is EventKind.DONE:
            del self._open[event.request]
            done, sent = self._read_done(bytes(event.body)), seen.request
            told = (seen.ttft_s, seen.first_item_s, seen.last_item_s, bytes(done.result), seen.events)
            self.done.append(SimulatedOutcome(sent.number, event.request, sent.at_s, done.status, latency_s, *told))


def result_stage(pipeline: Pipeline) -> str:
    """The stage whose items the result is made of: the deepest one that the last stage gathers."""
    gathered = [each.source for each in pipeline.stages[pipeline.root].node.inputs if each.gathered]
    return max(gathered, key=lambda name: len(pipeline.lineage(name)))
