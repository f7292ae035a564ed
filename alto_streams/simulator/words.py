"""What is simulated, on what, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from alto_streams.models.scripted import Lengths, Script, message_lengths
from alto_streams.models.simulated import Timing
from alto_streams.records import Mode, Status
from alto_streams.simulator.placing import Place, least_calls
from alto_streams.tables.calls import Limits


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """One request. `number`: its own, up to 2^62. `at_s`: when it is sent, since the run began. `input`: its JSON."""

    number: int
    at_s: float
    input: bytes
    mode: Mode = Mode.STREAM


@dataclass(frozen=True, slots=True)
class SimulatedSystem:
    """A deployment. `script` and `lengths`: what its engines write, and the tokens of their prompts.

    `hop_s`: the time from the append of a record, of any topic, until its reader has it. `place`: which engine takes a
    call; every engine serves every model. `maps_at_once`: map functions of one stage that run at the same time.
    """

    script: Script
    engines: int = 4
    timing: Timing = field(default_factory=Timing)
    hop_s: float = 0.0
    lengths: Lengths = message_lengths
    place: Place = least_calls
    limits: Limits = field(default_factory=lambda: Limits(max_attempts=4, silence_ms=30_000))
    maps_at_once: int = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client saw of one request. Latencies count from `at_s`, in seconds; None where there was no such event.

    `ttft_s`: to the first text, or the first item if that came sooner. `first_item_s`, `last_item_s`: to the items of
    the deepest stage that the result is made of. `result`: JSON. `events`: how many events there were in all.
    """

    number: int
    request: str
    at_s: float
    status: Status
    done_s: float
    ttft_s: float | None
    first_item_s: float | None
    last_item_s: float | None
    result: bytes
    events: int
