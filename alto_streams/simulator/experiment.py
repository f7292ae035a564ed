"""What is simulated, on what, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from alto_streams.models.scripted import Lengths, Script, message_lengths
from alto_streams.models.simulated import Timing
from alto_streams.tables.calls import Limits
from alto_streams.wire.plans import Plan
from alto_streams.wire.records import Mode, Status

MODEL = "simulated"  # every engine serves every model, so all are one to the scheduler


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """One request. `number`: its own, up to 2^62. `at_s`: when it is sent, since the run began. `input`: its JSON.

    `deadline_s`: since it is sent. `shed`: whether it may be given up once it cannot meet that.
    """

    number: int
    at_s: float
    input: bytes
    mode: Mode = Mode.STREAM
    deadline_s: float | None = None
    shed: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedSystem:
    """A deployment. `script` and `lengths`: what its engines write, and the tokens of their prompts.

    `speeds`: of the engines, 1.0 being that of `timing`, which all have that are not named here. `hop_s`: the time from
    the append of a record, of any topic, until its reader has it; live loads take as long. Without it senders know all
    there is to know. `policy`: who takes a call, by name. `partitions`: of each work topic. `maps_at_once`: map
    functions of one stage that run at the same time.

    `rebalance_s`: how long workers begin nothing new when partitions change hands. `lost`: (engine, when it stops for
    good); the group hears of it `session_s` later.
    """

    script: Script
    engines: int = 4
    timing: Timing = field(default_factory=Timing)
    hop_s: float = 0.0
    lengths: Lengths = message_lengths
    policy: str = "least_requests"
    speeds: tuple[float, ...] = ()
    partitions: int = 24
    rebalance_s: float = 1.5
    session_s: float = 10.0
    lost: tuple[tuple[int, float], ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(max_attempts=4, silence_ms=30_000))
    maps_at_once: int = 64


@dataclass(frozen=True, slots=True)
class SimulatedOutcome:
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


class Observer(Protocol):
    """Hears of what clients do not see; times in seconds since the run began."""

    def ended(self, at_s: float, worker: str, prompt_class: str, prefix: int, cached: int) -> None:
        """A call has ended, of whose prefix so many tokens were cached."""

    def planned(self, at_s: float, plan: Plan) -> None:
        """A plan is published."""


class NoWatch:
    """Nobody listens."""

    def ended(self, at_s: float, worker: str, prompt_class: str, prefix: int, cached: int) -> None: ...

    def planned(self, at_s: float, plan: Plan) -> None: ...
