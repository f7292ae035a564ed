"""The home of one stage: (row, record) -> what follows, the row changed. Pure: no Kafka, no clock, no asyncio.

What it decides follows from the order of its partition alone, so that any replay decides the same. Time is the log's.
The stage at the root also answers for the request as a whole: it opens it, keeps its deadline, and ends it once.
"""

from __future__ import annotations

from typing import Any

from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import REQUEST
from alto_streams.errors import Poison
from alto_streams.scheduler.placing import Placing
from alto_streams.tables.attempts import Act, Ruling, begins_run, rule_chunk, rule_result, rule_start, rule_timer
from alto_streams.tables.calls import Calls, Limits
from alto_streams.tables.decisions import Cause, Did, cause_of_cancel
from alto_streams.tables.joins import Joins, child_paths
from alto_streams.tables.outputs import Outputs
from alto_streams.tables.requests import DEADLINE, OVERDUE, Requests
from alto_streams.tables.rows import Arm, Row
from alto_streams.tables.turns import At, Turn
from alto_streams.tables.withdrawals import Cut, Withdrawals
from alto_streams.wire.paths import parse_path
from alto_streams.wire.records import (
    Cancel,
    Chunk,
    Ended,
    EventKind,
    Forget,
    HomeRecord,
    Items,
    Request,
    Result,
    Retract,
    Start,
    Status,
    Timer,
)

_MAY_CHANGE_NOTHING = (Start, Chunk, Timer)
MAX_CANCELLED = 1_000  # items of one request, one by one: a client may ask for any number


class StageMachine:
    """All decisions of one stage."""

    def __init__(self, pipeline: Pipeline, stage: str, placing: Placing, limits: Limits) -> None:
        self._stage = pipeline.stages[stage]
        self._is_root = stage == pipeline.root
        self._pipeline, self._dead = pipeline, Withdrawals(pipeline)
        self._joins = Joins(pipeline, self._stage, self._dead)
        self._outputs = Outputs(pipeline.name, self._stage)
        self._calls = Calls(pipeline, stage, self._joins, self._dead, self._outputs, placing, limits)
        self._requests = Requests(pipeline, self._stage, self._outputs, self._calls)

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
                ruling = rule_result(turn.row.calls.get(record.path), record)
                self._noted(turn, record.path, ruling)
                if ruling.act is Act.ACCEPT:
                    self._calls.result(turn, record)
            case Timer():
                self._timer(turn, record)
            case Cancel():
                if record.stage:
                    self._cancel_item(turn, record)
                else:
                    self._cancel(turn, record)
            case Forget():
                self._requests.forget(turn, Status.OK)
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
            if self._requests.keep_deadline(turn):  # nobody was there to hear of it in time
                return
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
        if is_early and not (may_end_early and self._calls.has_enough(turn)):
            return
        result, what = self._calls.whole(turn)
        why, cause = (None, None) if what is None else (what.why, Cause.RAISED)
        failed = [] if is_early else [f"{source}: {paths['']}" for source, paths in row.failures.items() if "" in paths]
        if failed and not why:
            cause, why = Cause.INPUT, "; ".join(failed)
        self._requests.end(turn, Status.FAILED if why else Status.OK, why, cause, result, early=is_early, what=what)

    def _start(self, turn: Turn, start: Start) -> None:
        ruling = rule_start(turn.row.calls.get(start.path), start)
        self._noted(turn, start.path, ruling)
        match ruling.act:
            case Act.FOLLOW:
                self._calls.follow(turn, start.path, start.run)
            case Act.ABORT:
                self._tell_over(turn, start)
            case Act.RETRY:
                self._retry(turn, start.path, ruling)

    def _chunk(self, turn: Turn, chunk: Chunk) -> None:
        call = turn.row.calls.get(chunk.path)
        if begins_run(call, chunk):
            if chunk.end is not None and (call is None or call.closed):
                self._noted(turn, chunk.path, rule_chunk(call, chunk))
                return  # the run has ended: nobody is to be told that it is over
            self._start(turn, Start(chunk.request, chunk.path, chunk.attempt, chunk.run))
            if call is None or call.run != chunk.run:
                return
            turn.asked.clear()  # the chunk arms the call's timer itself
        ruling = rule_chunk(call, chunk)
        self._noted(turn, chunk.path, ruling)
        if ruling.act is Act.ACCEPT:
            self._calls.chunk(turn, chunk)
        elif ruling.act is Act.RETRY:
            self._retry(turn, chunk.path, ruling)

    def _timer(self, turn: Turn, timer: Timer) -> None:
        if self._is_root and timer.attempt == DEADLINE:
            self._requests.keep_deadline(turn)  # the clock that fired it may be ahead of the log's
        elif timer.due:
            self._calls.overdue(turn, timer.path)
        else:
            ruling = rule_timer(turn.row.calls.get(timer.path), timer)
            self._noted(turn, timer.path, ruling)
            if ruling.act is Act.RETRY:
                self._retry(turn, timer.path, ruling)

    def _retry(self, turn: Turn, path: str, ruling: Ruling) -> None:
        self._calls.retry(turn, path, ruling.cause or Cause.OTHER, ruling.why)

    @staticmethod
    def _noted(turn: Turn, path: str, ruling: Ruling) -> None:
        """What follows from the others is noted where it is done."""
        if (act := ruling.act) is Act.ACCEPT:
            did = Did.ACCEPTED
        elif act is Act.IGNORE:
            did = Did.IGNORED
        elif act is Act.ABORT:
            did = Did.REPLIED
        else:
            return
        call = turn.row.calls.get(path)
        turn.decide(did, path, 0 if call is None else call.attempt, None, ruling.why)

    def _withdraw(self, turn: Turn, cuts: list[Cut]) -> None:
        news = [cut for cut in cuts if self._dead.learn(turn.row, cut)]
        for cut in news:
            self._joins.withdraw(turn.row, cut)
        if news:
            self._calls.withdraw(turn)

    def _cancel(self, turn: Turn, cancel: Cancel) -> None:
        if not self._is_root or cancel.path:
            raise Poison(f"{self._stage.name}: a request is cancelled as a whole, at its root, or an item of a stage")
        cause = Cause.DEADLINE if cancel.cause == OVERDUE else cause_of_cancel(cancel)
        self._requests.end(turn, cancel.status, cancel.cause, cause)

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
            gone = row.value(REQUEST, "") is None or unheard or self._dead.is_dead(row, stage, path)
            if gone or self._joins.accounts_for(row, stage, path):
                turn.decide(Did.IGNORED, path, 0, why=f"there is nothing of {stage} to cancel (any more)")
                return  # the first decision wins
            if sum(map(len, row.cancelled.values())) >= MAX_CANCELLED:
                raise Poison(f"{self._stage.name}: more than {MAX_CANCELLED} items of one request are cancelled")
            self._requests.tell_cancelled(turn, cancel)
        else:
            row.context = cancel.context
            self._withdraw(turn, implied)
            if self._dead.is_dead(row, stage, path):  # what replaces it is not what was cancelled
                self._advance(turn)
                return
        turn.decide(Did.CANCELLED, path, 0, cause_of_cancel(cancel), f"the item of {stage}", cancel.status)
        row.cancelled.setdefault(stage, {})[path] = cancel.status
        self._calls.withdraw(turn)
        self._joins.cut_off(row, stage, path)
        self._advance(turn)

    def _finished(self, turn: Turn, record: HomeRecord) -> None:
        is_heard = isinstance(record, Start) or (isinstance(record, Chunk) and record.seq == 0 and record.end is None)
        turn.decide(Did.REPLIED if is_heard else Did.IGNORED, getattr(record, "path", ""), 0, why="the request is over")
        if isinstance(record, Start | Chunk) and is_heard:
            self._tell_over(turn, record)

    def _tell_over(self, turn: Turn, run: Start | Chunk) -> None:
        """Whoever makes this attempt is to stop: it is over."""
        self._outputs.control(turn, Ended(turn.request, self._stage.name, run.path, run.attempt))
