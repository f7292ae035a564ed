"""The home of one stage: (row, record) -> what follows, the row changed. Pure: no Kafka, no clock, no asyncio.

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
from alto_streams.tables.outputs import Outputs
from alto_streams.tables.rows import Arm, Row
from alto_streams.tables.turns import At, Turn
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

    def apply(self, row: Row, record: HomeRecord, at: At) -> Turn:
        """Take the next record of the home's partition into the row, and say what follows.

        A record that changes nothing and asks for nothing leaves the row's offset where it was: it need not be written.

        Raises:
            Poison: the record can never succeed; the row may be half changed.
        """
        turn = Turn(row, record.id if isinstance(record, Request) else record.request, at)
        was_finished = row.finished is not None
        if was_finished:
            self._finished(turn, record)
        else:
            self._open(turn, record)
        if turn.asked or not (was_finished or isinstance(record, _MAY_CHANGE_NOTHING)):
            row.offset = at.offset
        return turn

    def resume(self, row: Row, request: str, at: At) -> Turn:
        """What a new owner of the row must set going: timers and map functions. It changes nothing."""
        turn = Turn(row, request, at)
        if row.finished is None:
            self._calls.resume(turn)
            if self._is_root and row.context.deadline_ms is not None:
                turn.asked.append(Arm("", DEADLINE, 0, row.context.deadline_ms))
        return turn

    def is_owed_an_end(self, row: Row) -> bool:
        """Whether this is the root, the request has been heard of, and nobody has been told how it ended."""
        return self._is_root and row.finished is None and row.value(REQUEST, "") is not None

    def arguments(self, row: Row, path: str) -> dict[str, Any]:
        """The typed inputs of an open call, for the map function that is to be run."""
        return self._joins.arguments(row, path)

    def forget(self, request: str) -> None:
        """Drop what is kept in memory beside the row of a request."""
        self._calls.forget(request)

    def _open(self, turn: Turn, record: HomeRecord) -> None:
        match record:  # the most frequent ones first
            case Chunk():
                self._chunk(turn, record)
            case Items():
                self._items(turn, record)
            case Start():
                self._start(turn, record)
            case Request():
                self._request(turn, record)
            case Retract():
                self._check_stream(record.stage, record.path)
                cut = Cut(record.stage, record.path, record.first, record.epoch)
                self._withdraw(turn, [*self._dead.implied(record.stage, [record.path]), cut])
                self._advance(turn)
            case Result():
                if rule_result(turn.row.calls.get(record.path), record) is Ruling.ACCEPT:
                    self._calls.result(turn, record)
            case Timer():
                self._timer(turn, record)
            case Cancel():
                if record.stage:
                    self._cancel_item(turn, record)
                else:
                    self._cancel(turn, record)
            case Forget():
                self._forget(turn, Status.OK)
            case _:
                raise Poison(f"{self._stage.name}: a record of type {type(record).__name__} is not understood")

    def _check_stream(self, stage: str, path: str) -> None:
        # A record of another version of the pipeline can be read, and means nothing here.
        found = self._pipeline.stages.get(stage)
        if found is None or len(parse_path(path)) != found.node.depth:
            raise Poison(f"{self._stage.name}: there is no such stream (its stage, or the depth of its path)")

    def _items(self, turn: Turn, items: Items) -> None:
        self._check_stream(items.stage, items.path)
        if items.epoch or "~" in items.path:
            self._withdraw(turn, self._dead.implied(items.stage, [items.path, *child_paths(items)]))
        self._joins.absorb_items(turn.row, items)
        self._advance(turn, may_end_early=items.close is not None)

    def _request(self, turn: Turn, request: Request) -> None:
        self._joins.absorb_request(turn.row, request)
        if self._is_root:
            self._outputs.event(turn, EventKind.ACCEPTED, "", 0, {"mode": request.context.mode})
            due_ms = request.context.deadline_ms
            if due_ms is not None and due_ms <= turn.at.at_ms:  # nobody was there to hear of it in time
                self._end(turn, Status.FAILED, OVERDUE)
                return
            if due_ms is not None:
                turn.asked.append(Arm("", DEADLINE, 0, due_ms))
        self._advance(turn, may_end_early=True)

    def _advance(self, turn: Turn, *, may_end_early: bool = False) -> None:
        row = turn.row
        if not self._is_root:
            self._calls.open_ready(turn)
            return
        if row.value(REQUEST, "") is None:
            return  # its end is told after its beginning, even where the rest of it overtakes the request itself
        is_early = not self._joins.is_ready(row, "")
        # Only a close makes anything final.
        if is_early and not (may_end_early and self._calls.has_enough(row)):
            return
        result, cause = self._calls.whole(turn)
        if not is_early:
            failed = [f"{source}: {paths['']}" for source, paths in row.failures.items() if "" in paths]
            cause = cause or "; ".join(failed) or None
        self._end(turn, Status.FAILED if cause else Status.OK, cause, result, early=is_early)

    def _start(self, turn: Turn, start: Start) -> None:
        match rule_start(turn.row.calls.get(start.path), start):
            case Ruling.FOLLOW:
                self._calls.follow(turn, start.path, start.run)
            case Ruling.ABORT:
                self._tell_over(turn, start)
            case Ruling.RETRY:
                self._calls.retry(turn, start.path, "its worker was replaced")

    def _chunk(self, turn: Turn, chunk: Chunk) -> None:
        call = turn.row.calls.get(chunk.path)
        if begins_run(call, chunk):
            if chunk.end is not None and (call is None or call.closed):
                return  # the run has ended: nobody is to be told that it is over
            self._start(turn, Start(chunk.request, chunk.path, chunk.attempt, chunk.run))
            if call is None or call.run != chunk.run:
                return
            turn.asked.clear()  # the chunk arms the call's timer itself
        ruling = rule_chunk(call, chunk)
        if ruling is Ruling.ACCEPT:
            self._calls.chunk(turn, chunk)
        elif ruling is Ruling.RETRY:
            self._calls.retry(turn, chunk.path, "a hole in its output")

    def _timer(self, turn: Turn, timer: Timer) -> None:
        if self._is_root and timer.attempt == DEADLINE:
            due_ms = turn.row.context.deadline_ms
            if due_ms is None:
                return
            if turn.at.at_ms < due_ms:
                turn.asked.append(Arm("", DEADLINE, 0, due_ms))  # the clock that fired it is ahead of the log's
            else:
                self._end(turn, Status.FAILED, OVERDUE)
        elif timer.due:
            self._calls.overdue(turn, timer.path)
        elif rule_timer(turn.row.calls.get(timer.path), timer) is Ruling.RETRY:
            self._calls.retry(turn, timer.path, "silence")

    def _withdraw(self, turn: Turn, cuts: list[Cut]) -> None:
        news = [cut for cut in cuts if self._dead.learn(turn.row, cut)]
        for cut in news:
            self._joins.withdraw(turn.row, cut)
        if news:
            self._calls.withdraw(turn)

    def _cancel(self, turn: Turn, cancel: Cancel) -> None:
        if not self._is_root or cancel.path:
            raise Poison(f"{self._stage.name}: a request is cancelled as a whole, at its root, or an item of a stage")
        self._end(turn, cancel.status, cancel.cause)

    def _cancel_item(self, turn: Turn, cancel: Cancel) -> None:
        """The root decides, and tells the other homes; there is nothing to cancel before it knows the request."""
        row, stage, path = turn.row, cancel.stage, cancel.path
        known = stage in self._pipeline.stages and stage != self._pipeline.root
        if not known or len(parse_path(path)) != len(self._pipeline.lineage(stage)):
            raise Poison(f"{self._stage.name}: there is no such item to cancel")
        implied = self._dead.implied(stage, [path])
        if self._is_root:
            # A client's word withdraws nothing: an epoch that nobody has begun yet is not one of an item.
            unheard = [cut for cut in implied if not self._dead.is_known(row, cut)]
            if row.value(REQUEST, "") is None or unheard or self._dead.is_dead(row, stage, path):
                return
            if self._joins.accounts_for(row, stage, path):
                return  # the first decision wins: there is nothing left to cancel
            if sum(map(len, row.cancelled.values())) >= MAX_CANCELLED:
                raise Poison(f"{self._stage.name}: more than {MAX_CANCELLED} items of one request are cancelled")
            self._tell_cancelled(turn, cancel)
        else:
            row.context = cancel.context
            self._withdraw(turn, implied)
            if self._dead.is_dead(row, stage, path):  # what replaces it is not what was cancelled
                self._advance(turn)
                return
        row.cancelled.setdefault(stage, {})[path] = cancel.status
        self._calls.withdraw(turn)
        self._joins.cut_off(row, stage, path)
        self._advance(turn)

    def _tell_cancelled(self, turn: Turn, cancel: Cancel) -> None:
        told = msgspec.structs.replace(cancel, context=turn.row.context)
        node = self._pipeline.stages[cancel.stage].node
        below = list(node.below[1:])
        # The workers hear of it sooner than by way of their homes.
        self._outputs.control(turn, Cancelled(turn.request, cancel.path, below))
        for name in node.derived:
            if name != self._stage.name:
                self._outputs.to_stage(turn, name, told)
        self._outputs.cancelled(turn, cancel, below)

    def _end(
        self, turn: Turn, status: Status, cause: str | None, result: Raw = NOTHING, *, early: bool = False
    ) -> None:
        body: dict[str, Any] = {"status": status, "result": result}
        body |= ({"cause": cause} if cause else {}) | ({"early": True} if early else {})
        if early or status is not Status.OK:  # what the workers hear first is what engines are freed by
            self._outputs.control(turn, Cancelled(turn.request, ""))
        self._outputs.event(turn, EventKind.DONE, "", 0, body)
        for name in self._others:
            self._outputs.to_stage(turn, name, Forget(turn.request))
        self._forget(turn, status)

    def _forget(self, turn: Turn, status: Status) -> None:
        self._calls.abandon(turn)
        turn.row.finish(status)
        self._calls.forget(turn.request)

    def _finished(self, turn: Turn, record: HomeRecord) -> None:
        if isinstance(record, Start) or (isinstance(record, Chunk) and record.seq == 0 and record.end is None):
            self._tell_over(turn, record)

    def _tell_over(self, turn: Turn, run: Start | Chunk) -> None:
        """Whoever makes this attempt is to stop: it is over."""
        self._outputs.control(turn, Ended(turn.request, self._stage.name, run.path, run.attempt))
