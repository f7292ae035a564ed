"""What a home decided about a request, told again from its records: record, ruling, what followed. Pure.

A home decides by the order of its partition alone. So whoever has the records of a request has its decisions, as long
as the pipeline's functions and the bounds (attempts, silence) are those that its workers had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from alto_streams.agents.home.horizon import Horizon
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import Poison
from alto_streams.scheduler.placing import InTurn
from alto_streams.tables.calls import Limits
from alto_streams.tables.decisions import Cause, Decision, Did
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Instruction, Row
from alto_streams.tables.turns import At
from alto_streams.wire.records import HomeRecord, Status, decoder

_decode: Callable[[bytes], HomeRecord] = decoder(HomeRecord)  # type: ignore[arg-type]

PAST_HORIZON = "it came after the horizon, when nothing of its request is kept"


class Step(NamedTuple):
    """One record at the home of `stage`, what was decided about it, and what the home did then.

    `record`: None where nothing can read it. `refused`: why it could not be applied.
    """

    stage: str
    at: At
    record: HomeRecord | None
    decided: tuple[Decision, ...] = ()
    asked: tuple[Instruction, ...] = ()
    refused: str = ""


class Deciding(NamedTuple):
    """A decision, and the step that it was made at."""

    decision: Decision
    step: Step


@dataclass(slots=True)
class CallStory:
    """What became of one call. `closed`: None while it is open, or where it has gone with its input.

    `letters`: items that failed, and its own failure.
    """

    stage: str
    path: str
    attempts: int = 0
    retries: list[Deciding] = field(default_factory=list)
    letters: list[Deciding] = field(default_factory=list)
    closed: Deciding | None = None

    @property
    def is_well(self) -> bool:
        """Whether it went as it should: by its first attempt, with all of its items."""
        return not (self.retries or self.letters or self.has_failed)

    @property
    def has_failed(self) -> bool:
        """Whether it gave less than it should."""
        return self.closed is not None and self.closed.decision.status is not Status.OK


def retell(
    pipeline: Pipeline, stage: str, limits: Limits, horizon_ms: int, request: str, records: Iterable[tuple[At, bytes]]
) -> list[Step]:
    """Apply the records of one request at the home of one stage, in their order."""
    teller = _Teller(pipeline, stage, limits, horizon_ms, request)
    return [teller.step(at, value) for at, value in records]


def calls_of(steps: Iterable[Step]) -> list[CallStory]:
    """What became of each call, in the order in which they began."""
    found: dict[tuple[str, str], CallStory] = {}
    for step in steps:
        for each in step.decided:
            if each.did in (Did.OPENED, Did.CLOSED, Did.RETRIED, Did.LETTER, Did.HELD, Did.WITHDRAWN):
                call = found.setdefault((step.stage, each.path), CallStory(step.stage, each.path))
                _add(call, Deciding(each, step))
    return list(found.values())


def end_of(steps: Iterable[Step]) -> Deciding | None:
    """The decision that ended the request, if there is one."""
    return next((Deciding(d, step) for step in steps for d in step.decided if d.did is Did.ENDED), None)


def _add(call: CallStory, deciding: Deciding) -> None:
    decision = deciding.decision
    call.attempts = max(call.attempts, decision.attempt)
    match decision.did:
        case Did.RETRIED:
            call.retries.append(deciding)
        case Did.LETTER:
            call.letters.append(deciding)
        case Did.CLOSED:
            call.closed = deciding
        case Did.HELD | Did.WITHDRAWN | Did.OPENED:
            call.closed = None


class _Teller:
    """The row of one request at the home of one stage, record after record."""

    def __init__(self, pipeline: Pipeline, stage: str, limits: Limits, horizon_ms: int, request: str) -> None:
        self._stage, self._request = stage, request
        self._machine = StageMachine(pipeline, stage, InTurn({stage: 1}), limits)
        self._horizon = Horizon(horizon_ms, is_root=stage == pipeline.root)
        self._row: Row | None = None
        self._applied: list[tuple[HomeRecord, At]] = []

    def step(self, at: At, value: bytes) -> Step:
        """The next record."""
        try:
            record = _decode(value)
        except Poison as error:
            return self._refused(at, None, str(error))
        if self._row is None and not self._horizon.may_begin(record, self._request, at.at_ms):
            ignored = Decision(Did.IGNORED, getattr(record, "path", ""), 0, why=PAST_HORIZON)
            return Step(self._stage, at, record, (ignored,))
        self._row = row = self._row or Row()
        try:
            turn = self._machine.apply(row, record, at)
        except Exception as error:
            self._make_anew()
            why = str(error) if isinstance(error, Poison) else f"{type(error).__name__} while it was applied"
            return self._refused(at, record, why)
        self._applied.append((record, at))
        return Step(self._stage, at, record, tuple(turn.decided), tuple(turn.asked))

    def _make_anew(self) -> None:
        """The row may be half changed."""
        self._machine.forget(self._request)
        self._row = Row()
        for record, at in self._applied:
            self._machine.apply(self._row, record, at)

    def _refused(self, at: At, record: HomeRecord | None, why: str) -> Step:
        letter = Decision(Did.LETTER, getattr(record, "path", ""), 0, Cause.UNREADABLE, why)
        return Step(self._stage, at, record, (letter,), refused=why)
