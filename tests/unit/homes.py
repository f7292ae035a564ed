"""A home to talk to in tests: one row, one machine, records in order, and what it asks for in return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Arm, Instruction, Row, Run, Send, decode_row, encode_row
from alto_streams.tables.turns import At
from alto_streams.wire.records import (
    Child,
    Chunk,
    Close,
    Context,
    ControlRecord,
    DeadLetter,
    End,
    Event,
    HomeRecord,
    Items,
    Mode,
    Raw,
    Request,
    Start,
    Status,
    Wire,
    Work,
)
from alto_streams.wire.topic_names import home_topic
from tests.placing import Always

REQUEST_ID = "request-1"
SILENCE_MS = 5_000


class Home:
    """The home of one stage for one request. `forgetful`: its memory is lost after every record, its row is not."""

    def __init__(self, pipeline: Pipeline, stage: str, *, max_attempts: int = 4, forgetful: bool = False) -> None:
        self._pipeline, self.stage, self.row, self._forgetful = pipeline, stage, Row(), forgetful
        self._limits = Limits(max_attempts, SILENCE_MS)
        self.machine = self._made()
        self._topic, self._offset, self.now_ms = home_topic(pipeline.name, stage), 0, 1_000
        self.said: list[Instruction] = []

    def _made(self) -> StageMachine:
        return StageMachine(self._pipeline, self.stage, Always(3), self._limits)

    def tell(self, *records: Wire) -> list[Instruction]:
        """The next records of its partition. Returns what it asks for."""
        out: list[Instruction] = []
        for record in records:
            out += self.machine.apply(self.row, record, self.at()).asked  # type: ignore[arg-type]
            if self._forgetful:
                self.row, self.machine = decode_row(encode_row(self.row)), self._made()
        self.said += out
        return out

    def resumed(self) -> list[Instruction]:
        """What a new owner of its partition must set going."""
        return self.machine.resume(self.row, REQUEST_ID, self.at()).asked

    def at(self) -> At:
        """The place of the next record."""
        self._offset += 1
        return At(self._topic, 0, self._offset, self.now_ms)


def request(value: Wire | Any, mode: Mode = Mode.STREAM, deadline_ms: int | None = None) -> Request:
    """The request of these tests."""
    return Request(REQUEST_ID, "factcheck", Raw(msgspec.json.encode(value)), Context(mode, deadline_ms))


def start(path: str, run: str = "a", attempt: int = 1) -> Start:
    return Start(REQUEST_ID, path, attempt, run)


def chunk(path: str, seq: int, text: str, run: str = "a", attempt: int = 1, end: End | None = None) -> Chunk:
    return Chunk(REQUEST_ID, path, attempt, run, seq, text, len(text), end=end)


STOP = End(Status.OK, "stop")

_KINDS: dict[str, Any] = {
    "chunks": HomeRecord,
    "work": Work,
    "results": Event,
    "control": ControlRecord,
    "dead-letters": DeadLetter,
}


def sent(out: Sequence[Instruction], topic: str) -> list[Any]:
    """The records sent to topics whose names begin like this."""
    kind = _KINDS[topic.partition(".")[0]]
    return [msgspec.json.decode(s.record, type=kind) for s in out if isinstance(s, Send) and s.topic.startswith(topic)]


def items(stage: str, path: str, *values: object, first: int = 0, close: Close | None = None) -> Items:
    children = [v if isinstance(v, Child) else Child(Raw(msgspec.json.encode(v))) for v in values]
    return Items(REQUEST_ID, stage, path, first=first, children=children, close=close)


def works(out: Sequence[Instruction]) -> list[Work]:
    return sent(out, "work.")


def events(out: Sequence[Instruction]) -> list[Event]:
    return sent(out, "results.")


def items_to(out: Sequence[Instruction], stage: str) -> list[Items]:
    return [r for r in sent(out, f"chunks.factcheck.{stage}") if isinstance(r, Items)]


def arms(out: Sequence[Instruction]) -> list[Arm]:
    return [each for each in out if isinstance(each, Arm)]


def runs(out: Sequence[Instruction]) -> list[Run]:
    return [each for each in out if isinstance(each, Run)]


def children(told: list[Items]) -> list[Any]:
    """The values of all children in these records."""
    return [msgspec.json.decode(child.value) for each in told for child in each.children]
