"""The home of one stage: (row, record) -> instructions, the row changed. Pure: no Kafka, no clock, no asyncio.

What it decides follows from the order of its partition alone, so that any replay decides the same. Time is the log's.
The stage at the root also answers for the request as a whole: it opens it, keeps its deadline, and ends it once.
"""

from __future__ import annotations

from typing import Any

from alto_streams.pipeline import Pipeline
from alto_streams.records import (
    Cancel,
    Cancelled,
    Chunk,
    Ended,
    EventKind,
    Forget,
    HomeRecord,
    Items,
    Poison,
    Raw,
    Request,
    Result,
    Start,
    Status,
    Timer,
)
from alto_streams.tables.attempts import Ruling, rule_chunk, rule_result, rule_start, rule_timer
from alto_streams.tables.calls import Calls, Limits, Place
from alto_streams.tables.joins import Joins
from alto_streams.tables.outputs import At, Outputs
from alto_streams.tables.rows import Arm, Instruction, Row
from alto_streams.topology import REQUEST

# The deadline's timer at the root: no call has attempt 0.
DEADLINE = 0
NOTHING = Raw(b"null")


class StageMachine:
    """All decisions of one stage."""

    def __init__(self, pipeline: Pipeline, stage: str, place: Place, limits: Limits) -> None:
        self._stage = pipeline.stages[stage]
        self._is_root = stage == pipeline.root
        self._others = [name for name in pipeline.stages if name != stage]
        self._joins = Joins(pipeline, self._stage)
        self._outputs = Outputs(pipeline.name, self._stage)
        self._calls = Calls(pipeline, stage, self._joins, self._outputs, place, limits)

    def apply(self, row: Row, record: HomeRecord, at: At) -> list[Instruction]:
        """Take the next record of the home's partition into the row; the instructions become its outbox.

        A record that changes nothing and asks for nothing leaves the row's offset where it was: it need not be written.

        Raises:
            Poison: the record can never succeed; the row may be half changed.
        """
        was_finished = row.finished is not None
        out = self._finished(row, record) if was_finished else self._open(row, record, at)
        if out or not (was_finished or isinstance(record, Start | Chunk | Timer)):
            row.offset, row.outbox = at.offset, out
        return out

    def resume(self, row: Row, at: At) -> list[Instruction]:
        """What a new owner of the row must set going: timers and map functions. It changes nothing."""
        if row.finished is not None:
            return []
        out = self._calls.resume(row, at)
        if self._is_root and row.context.deadline_ms is not None:
            out.append(Arm("", DEADLINE, 0, row.context.deadline_ms))
        return out

    def arguments(self, row: Row, path: str) -> dict[str, Any]:
        """The typed inputs of an open call, for the map function that is to be run."""
        return self._joins.arguments(row, path)

    def forget(self, request: str) -> None:
        """Drop what is kept in memory beside the row of a request."""
        self._calls.forget(request)

    def _open(self, row: Row, record: HomeRecord, at: At) -> list[Instruction]:
        match record:
            case Request():
                return self._request(row, record, at)
            case Items():
                self._joins.absorb_items(row, record)
                return self._advance(row, record.request, at)
            case Start():
                return self._start(row, record, at)
            case Chunk():
                ruling = rule_chunk(row.calls.get(record.path), record)
                if ruling is Ruling.ACCEPT:
                    return self._calls.chunk(row, record.request, record, at)
                return self._retry_if(ruling, row, record.request, record.path, at, "a hole in its output")
            case Result():
                ruling = rule_result(row.calls.get(record.path), record)
                return self._calls.result(row, record.request, record, at) if ruling is Ruling.ACCEPT else []
            case Timer():
                return self._timer(row, record, at)
            case Cancel():
                return self._cancel(row, record, at)
            case Forget():
                return self._forget(row, record.request, Status.OK)
            case _:
                raise Poison(f"{self._stage.name}: a record of type {type(record).__name__} is not understood")

    def _request(self, row: Row, request: Request, at: At) -> list[Instruction]:
        self._joins.absorb_request(row, request)
        out: list[Instruction] = []
        if self._is_root:
            out.append(self._outputs.event(request.id, EventKind.ACCEPTED, "", 0, at, {"mode": request.context.mode}))
            if request.context.deadline_ms is not None:
                out.append(Arm("", DEADLINE, 0, request.context.deadline_ms))
        return out + self._advance(row, request.id, at)

    def _advance(self, row: Row, request: str, at: At) -> list[Instruction]:
        if not self._is_root:
            return self._calls.open_ready(row, request, at)
        if row.value(REQUEST, "") is None or not self._joins.is_ready(row, ""):
            return []  # its end is told after its beginning, even where the rest of it overtakes the request itself
        failed = [f"{source}: {paths['']}" for source, paths in row.failures.items() if "" in paths]
        result, cause = self._calls.gathered(row, "")
        cause = cause or "; ".join(failed) or None
        return self._end(row, request, at, Status.FAILED if cause else Status.OK, cause, result)

    def _start(self, row: Row, start: Start, at: At) -> list[Instruction]:
        match rule_start(row.calls.get(start.path), start):
            case Ruling.FOLLOW:
                return self._calls.follow(row, start.path, start.run, at)
            case Ruling.ABORT:
                return [self._outputs.control(Ended(start.request, self._stage.name, start.path, start.attempt))]
            case ruling:
                return self._retry_if(ruling, row, start.request, start.path, at, "its worker was replaced")

    def _timer(self, row: Row, timer: Timer, at: At) -> list[Instruction]:
        if self._is_root and timer.attempt == DEADLINE:
            due = row.context.deadline_ms
            if due is None:
                return []
            if at.at_ms < due:
                return [Arm("", DEADLINE, 0, due)]  # the clock that fired it is ahead of the log's
            return self._end(row, timer.request, at, Status.FAILED, "deadline exceeded")
        ruling = rule_timer(row.calls.get(timer.path), timer)
        return self._retry_if(ruling, row, timer.request, timer.path, at, "silence")

    def _cancel(self, row: Row, cancel: Cancel, at: At) -> list[Instruction]:
        if not self._is_root or cancel.path:
            raise Poison(f"{self._stage.name}: only a whole request can be cancelled, at its root")
        return self._end(row, cancel.request, at, cancel.status, cancel.cause)

    def _end(
        self, row: Row, request: str, at: At, status: Status, cause: str | None, result: Raw = NOTHING
    ) -> list[Instruction]:
        body: dict[str, Any] = {"status": status, "result": result} | ({"cause": cause} if cause else {})
        out: list[Instruction] = [self._outputs.event(request, EventKind.DONE, "", 0, at, body)]
        if status is not Status.OK:
            out.append(self._outputs.control(Cancelled(request, "")))
        out += [self._outputs.to_stage(name, request, Forget(request)) for name in self._others]
        return out + self._forget(row, request, status)

    def _forget(self, row: Row, request: str, status: Status) -> list[Instruction]:
        row.finish(status)
        self._calls.forget(request)
        return []

    def _finished(self, row: Row, record: HomeRecord) -> list[Instruction]:
        if isinstance(record, Start):
            return [self._outputs.control(Ended(record.request, self._stage.name, record.path, record.attempt))]
        return []

    def _retry_if(self, ruling: Ruling, row: Row, request: str, path: str, at: At, cause: str) -> list[Instruction]:
        return self._calls.retry(row, request, path, at, cause) if ruling is Ruling.RETRY else []
