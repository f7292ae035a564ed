"""The home of one stage: (row, record) -> instructions, the row changed. Pure: no Kafka, no clock, no asyncio.

What it decides follows from the order of its partition alone, so that any replay decides the same. Time is the log's.
The stage at the root also answers for the request as a whole: it opens it, keeps its deadline, and ends it once.
"""

from __future__ import annotations

from typing import Any

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import REQUEST
from alto_streams.errors import Poison
from alto_streams.scheduler.placing import Placing
from alto_streams.tables.attempts import Ruling, begins_run, rule_chunk, rule_result, rule_start, rule_timer
from alto_streams.tables.calls import Calls, Limits
from alto_streams.tables.joins import Joins, child_paths
from alto_streams.tables.outputs import At, Outputs
from alto_streams.tables.rows import Arm, Instruction, Row
from alto_streams.tables.withdrawals import Cut, Withdrawals
from alto_streams.wire.paths import parse_path
from alto_streams.wire.records import (
    Cancel,
    Cancelled,
    Chunk,
    Ended,
    EventKind,
    Forget,
    HomeRecord,
    Items,
    Raw,
    Request,
    Result,
    Retract,
    Start,
    Status,
    Timer,
)

# The deadline's timer at the root: no call has attempt 0.
DEADLINE = 0
OVERDUE = "deadline exceeded"
NOTHING = Raw(b"null")
_MAY_CHANGE_NOTHING = (Start, Chunk, Timer)
MAX_CANCELLED = 1_000  # items of one request, one by one: a client may ask for any number


class StageMachine:
    """All decisions of one stage."""

    def __init__(self, pipeline: Pipeline, stage: str, placing: Placing, limits: Limits) -> None:
        self._stage = pipeline.stages[stage]
        self._is_root = stage == pipeline.root
        self._others = [name for name in pipeline.stages if name != stage]
        self._pipeline, self._dead = pipeline, Withdrawals(pipeline)
        self._joins = Joins(pipeline, self._stage, self._dead)
        self._outputs = Outputs(pipeline.name, self._stage)
        self._calls = Calls(pipeline, stage, self._joins, self._dead, self._outputs, placing, limits)

    def apply(self, row: Row, record: HomeRecord, at: At) -> list[Instruction]:
        """Take the next record of the home's partition into the row, and say what follows.

        A record that changes nothing and asks for nothing leaves the row's offset where it was: it need not be written.

        Raises:
            Poison: the record can never succeed; the row may be half changed.
        """
        was_finished = row.finished is not None
        out = self._finished(row, record) if was_finished else self._open(row, record, at)
        if out or not (was_finished or isinstance(record, _MAY_CHANGE_NOTHING)):
            row.offset = at.offset
        return out

    def resume(self, row: Row, at: At) -> list[Instruction]:
        """What a new owner of the row must set going: timers and map functions. It changes nothing."""
        if row.finished is not None:
            return []
        out = self._calls.resume(row, at)
        if self._is_root and row.context.deadline_ms is not None:
            out.append(Arm("", DEADLINE, 0, row.context.deadline_ms))
        return out

    def is_owed_an_end(self, row: Row) -> bool:
        """Whether this is the root, the request has been heard of, and nobody has been told how it ended."""
        return self._is_root and row.finished is None and row.value(REQUEST, "") is not None

    def arguments(self, row: Row, path: str) -> dict[str, Any]:
        """The typed inputs of an open call, for the map function that is to be run."""
        return self._joins.arguments(row, path)

    def forget(self, request: str) -> None:
        """Drop what is kept in memory beside the row of a request."""
        self._calls.forget(request)

    def _open(self, row: Row, record: HomeRecord, at: At) -> list[Instruction]:
        match record:  # the most frequent ones first
            case Chunk():
                return self._chunk(row, record, at)
            case Items():
                self._check_stream(record.stage, record.path)
                out: list[Instruction] = []
                if record.epoch or "~" in record.path:
                    implied = self._dead.implied(record.stage, [record.path, *child_paths(record)])
                    out = self._withdraw(row, record.request, implied, at)
                self._joins.absorb_items(row, record)
                return out + self._advance(row, record.request, at, may_end_early=record.close is not None)
            case Start():
                return self._start(row, record, at)
            case Request():
                return self._request(row, record, at)
            case Retract():
                cut = Cut(record.stage, record.path, record.first, record.epoch)
                self._check_stream(record.stage, record.path)
                cuts = [*self._dead.implied(record.stage, [record.path]), cut]
                return self._withdraw(row, record.request, cuts, at) + self._advance(row, record.request, at)
            case Result():
                ruling = rule_result(row.calls.get(record.path), record)
                return self._calls.result(row, record.request, record, at) if ruling is Ruling.ACCEPT else []
            case Timer():
                return self._timer(row, record, at)
            case Cancel():
                return self._cancel_item(row, record, at) if record.stage else self._cancel(row, record, at)
            case Forget():
                return self._forget(row, record.request, Status.OK)
            case _:
                raise Poison(f"{self._stage.name}: a record of type {type(record).__name__} is not understood")

    def _check_stream(self, stage: str, path: str) -> None:
        # A record of another version of the pipeline can be read, and means nothing here.
        found = self._pipeline.stages.get(stage)
        if found is None or len(parse_path(path)) != found.node.depth:
            raise Poison(f"{self._stage.name}: there is no such stream (its stage, or the depth of its path)")

    def _request(self, row: Row, request: Request, at: At) -> list[Instruction]:
        self._joins.absorb_request(row, request)
        out: list[Instruction] = []
        if self._is_root:
            out.append(self._outputs.event(request.id, EventKind.ACCEPTED, "", 0, at, {"mode": request.context.mode}))
            due_ms = request.context.deadline_ms
            if due_ms is not None and due_ms <= at.at_ms:  # nobody was there to hear of it in time
                return out + self._end(row, request.id, at, Status.FAILED, OVERDUE)
            if due_ms is not None:
                out.append(Arm("", DEADLINE, 0, due_ms))
        return out + self._advance(row, request.id, at, may_end_early=True)

    def _advance(self, row: Row, request: str, at: At, *, may_end_early: bool = False) -> list[Instruction]:
        if not self._is_root:
            return self._calls.open_ready(row, request, at)
        if row.value(REQUEST, "") is None:
            return []  # its end is told after its beginning, even where the rest of it overtakes the request itself
        if not self._joins.is_ready(row, ""):
            # Only a close makes anything final.
            return self._end_early(row, request, at) if may_end_early and self._calls.has_enough(row) else []
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

    def _chunk(self, row: Row, chunk: Chunk, at: At) -> list[Instruction]:
        call = row.calls.get(chunk.path)
        if begins_run(call, chunk):
            start = Start(chunk.request, chunk.path, chunk.attempt, chunk.run)
            told = self._start(row, start, at)
            if call is None or call.run != chunk.run:
                return told if chunk.end is None or (call is not None and not call.closed) else []
        ruling = rule_chunk(call, chunk)
        if ruling is Ruling.ACCEPT:
            return self._calls.chunk(row, chunk.request, chunk, at)
        return self._retry_if(ruling, row, chunk.request, chunk.path, at, "a hole in its output")

    def _timer(self, row: Row, timer: Timer, at: At) -> list[Instruction]:
        if self._is_root and timer.attempt == DEADLINE:
            due = row.context.deadline_ms
            if due is None:
                return []
            if at.at_ms < due:
                return [Arm("", DEADLINE, 0, due)]  # the clock that fired it is ahead of the log's
            return self._end(row, timer.request, at, Status.FAILED, OVERDUE)
        if timer.due:
            return self._calls.overdue(row, timer.request, timer.path, at)
        ruling = rule_timer(row.calls.get(timer.path), timer)
        return self._retry_if(ruling, row, timer.request, timer.path, at, "silence")

    def _withdraw(self, row: Row, request: str, cuts: list[Cut], at: At) -> list[Instruction]:
        news = [cut for cut in cuts if self._dead.learn(row, cut)]
        for cut in news:
            self._joins.withdraw(row, cut)
        return self._calls.withdraw(row, request, at) if news else []

    def _cancel(self, row: Row, cancel: Cancel, at: At) -> list[Instruction]:
        if not self._is_root or cancel.path:
            raise Poison(f"{self._stage.name}: a request is cancelled as a whole, at its root, or an item of a stage")
        return self._end(row, cancel.request, at, cancel.status, cancel.cause)

    def _cancel_item(self, row: Row, cancel: Cancel, at: At) -> list[Instruction]:
        """The root decides, and tells the other homes; there is nothing to cancel before it knows the request."""
        request, stage, path = cancel.request, cancel.stage, cancel.path
        known = stage in self._pipeline.stages and stage != self._pipeline.root
        if not known or len(parse_path(path)) != len(self._pipeline.lineage(stage)):
            raise Poison(f"{self._stage.name}: there is no such item to cancel")
        implied, out = self._dead.implied(stage, [path]), list[Instruction]()
        if self._is_root:
            # A client's word withdraws nothing: an epoch that nobody has begun yet is not one of an item.
            unheard = [cut for cut in implied if not self._dead.is_known(row, cut)]
            if row.value(REQUEST, "") is None or unheard or self._dead.is_dead(row, stage, path):
                return []
            if self._joins.accounts_for(row, stage, path):
                return []  # the first decision wins: there is nothing left to cancel
            if sum(map(len, row.cancelled.values())) >= MAX_CANCELLED:
                raise Poison(f"{self._stage.name}: more than {MAX_CANCELLED} items of one request are cancelled")
            told = msgspec.structs.replace(cancel, context=row.context)
            node = self._pipeline.stages[stage].node
            below = list(node.below[1:])
            out.append(self._outputs.control(Cancelled(request, path, below)))  # sooner than by way of their homes
            out += [self._outputs.to_stage(name, request, told) for name in node.derived if name != self._stage.name]
            out.append(self._outputs.cancelled(cancel, below, at))
        else:
            row.context = cancel.context
            out += self._withdraw(row, request, implied, at)
            if self._dead.is_dead(row, stage, path):  # what replaces it is not what was cancelled
                return out + self._advance(row, request, at)
        row.cancelled.setdefault(stage, {})[path] = cancel.status
        out += self._calls.withdraw(row, request, at)
        self._joins.cut_off(row, stage, path)
        return out + self._advance(row, request, at)

    def _end_early(self, row: Row, request: str, at: At) -> list[Instruction]:
        result, cause = self._calls.gathered(row, "")
        return self._end(row, request, at, Status.FAILED if cause else Status.OK, cause, result, early=True)

    def _end(
        self,
        row: Row,
        request: str,
        at: At,
        status: Status,
        cause: str | None,
        result: Raw = NOTHING,
        *,
        early: bool = False,
    ) -> list[Instruction]:
        body: dict[str, Any] = {"status": status, "result": result}
        body |= ({"cause": cause} if cause else {}) | ({"early": True} if early else {})
        out: list[Instruction] = []
        if early or status is not Status.OK:  # what the workers hear first is what engines are freed by
            out.append(self._outputs.control(Cancelled(request, "")))
        out.append(self._outputs.event(request, EventKind.DONE, "", 0, at, body))
        out += [self._outputs.to_stage(name, request, Forget(request)) for name in self._others]
        return out + self._forget(row, request, status)

    def _forget(self, row: Row, request: str, status: Status) -> list[Instruction]:
        out = self._calls.abandon(row, request)
        row.finish(status)
        self._calls.forget(request)
        return out

    def _finished(self, row: Row, record: HomeRecord) -> list[Instruction]:
        if isinstance(record, Start) or (isinstance(record, Chunk) and record.seq == 0 and record.end is None):
            return [self._outputs.control(Ended(record.request, self._stage.name, record.path, record.attempt))]
        return []

    def _retry_if(self, ruling: Ruling, row: Row, request: str, path: str, at: At, cause: str) -> list[Instruction]:
        return self._calls.retry(row, request, path, at, cause) if ruling is Ruling.RETRY else []
