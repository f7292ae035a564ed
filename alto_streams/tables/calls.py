"""The life of a call at its home: opened, dispatched, streamed, parsed, closed. Pure.

Every method takes the turn of the record that caused it, and adds what is to be done. What differs between the kinds of
stages is in `tables/kinds/`.
"""

from __future__ import annotations

from dataclasses import dataclass

from alto_streams.define.items import ItemWriter
from alto_streams.define.pipeline import Pipeline
from alto_streams.define.raised import FAULTS, Raised, raised
from alto_streams.scheduler.placing import Placing
from alto_streams.tables import attempts
from alto_streams.tables.decisions import Cause, Did, cause_of_end, cause_of_result
from alto_streams.tables.joins import Joins
from alto_streams.tables.kinds import class_of
from alto_streams.tables.kinds.call_kind import Tools
from alto_streams.tables.outputs import Outputs
from alto_streams.tables.rows import Arm, CallState, Row
from alto_streams.tables.turns import Turn
from alto_streams.tables.withdrawals import Withdrawals
from alto_streams.wire.records import Child, Chunk, Close, Raw, Result, Status


@dataclass(frozen=True, slots=True)
class Limits:
    """What a home bounds. `silence_ms`: since the followed start or the last accepted chunk of a call.

    `with_values`: where a function of the author raises, it is told what the exception says and variables held.
    """

    max_attempts: int
    silence_ms: int
    with_values: bool = False


class Calls:
    """The calls of one stage."""

    def __init__(
        self,
        pipeline: Pipeline,
        stage: str,
        joins: Joins,
        dead: Withdrawals,
        outputs: Outputs,
        placing: Placing,
        limits: Limits,
    ) -> None:
        self._stage = pipeline.stages[stage]
        self._joins, self._dead, self._outputs, self._max_attempts = joins, dead, outputs, limits.max_attempts
        tools = Tools(pipeline, joins, outputs, placing, limits.silence_ms)
        self._kind = class_of(self._stage.node.kind)(stage, tools)
        self._items, self._with_values = ItemWriter(self._stage), limits.with_values
        self._unsure: set[str] = set()  # requests whose `enough` has raised: it would at each close

    def open_ready(self, turn: Turn) -> None:
        """Open every call whose inputs are there."""
        row = turn.row
        for path in self._joins.pending(row):
            cause = self._joins.driver_failure(row, path)
            if cause is None and not self._joins.is_ready(row, path):
                continue
            held = row.calls.get(path) or CallState()
            tried = held.attempt + (cause is None)
            call = row.calls[path] = CallState(tried, held.attempt, held.epoch, shown=held.shown)
            if cause is not None:
                self._fail(turn, path, Cause.INPUT, "its input failed: " + cause)
                continue
            turn.decide(Did.OPENED, path, tried)
            if self._stage.within_s is not None:
                call.due_ms = turn.at.at_ms + int(self._stage.within_s * 1000)
                turn.asked.append(Arm(path, call.attempt, 0, call.due_ms, due=True))
            self._dispatch(turn, path)

    def withdraw(self, turn: Turn) -> None:
        """Something has died: end the calls that died with it, hold those that had begun on what is no more."""
        row = turn.row
        for path, call in list(row.calls.items()):
            if self._dead.is_dead(row, self._stage.name, path):
                turn.decide(Did.WITHDRAWN, path, call.attempt)
                self._abort(turn, path)
                del row.calls[path]
            elif self._has_begun_on_what_is_gone(row, path, call):
                turn.decide(Did.HELD, path, call.attempt)
                self._abort(turn, path)
                self._take_back(turn, path, call)
                row.calls[path] = CallState(
                    call.attempt, call.before, call.epoch, shown=call.shown, closed=True, held=True
                )

    def chunk(self, turn: Turn, chunk: Chunk) -> None:
        """Accept the next chunk of the followed run."""
        path, call = chunk.path, turn.row.calls[chunk.path]
        try:
            children = self._items.children(self._kind.read(turn, chunk))
        except FAULTS as error:
            self._fail_raised(turn, path, error)
            return
        self._outputs.shown_text(turn, path, call, chunk.text)
        if chunk.end is None:
            self._emit(turn, path, children, None)
            turn.asked.append(self._arm(turn, path))
        elif chunk.end.status is not Status.OK and chunk.end.reason == "error":
            self._emit(turn, path, children, None)
            self.retry(turn, path, Cause.ENGINE_ERROR, chunk.end.cause or "the engine failed")
        else:
            close = Close(call.children + len(children), chunk.end.status, chunk.end.cause)
            self._end(turn, path, children, close, cause_of_end(chunk.end))

    def result(self, turn: Turn, result: Result) -> None:
        """Accept what a map function returned."""
        close = Close(len(result.children), result.status, result.cause)
        what = Raised(result.cause or "", result.error, result.trace) if result.error else None
        self._end(turn, result.path, result.children, close, cause_of_result(result), what)

    def follow(self, turn: Turn, path: str, run: str) -> None:
        """Follow a run."""
        call = turn.row.calls[path]
        attempts.follow(call, run)
        why = f"run {call.starts} of this attempt" if call.starts > 1 else None
        turn.decide(Did.FOLLOWED, path, call.attempt, why=why)
        turn.asked.append(self._arm(turn, path))

    def retry(self, turn: Turn, path: str, cause: Cause, why: str) -> None:
        """End the open attempt; the next one continues from the accepted text, unless there have been too many."""
        call = turn.row.calls[path]
        tried = call.attempt - call.before
        if tried >= self._max_attempts:
            self._fail(turn, path, cause, f"gave up after {tried} attempts: {why}")
            return
        self._kind.stop(turn, path)
        attempts.next_attempt(call)
        turn.decide(Did.RETRIED, path, call.attempt, cause, why)
        if self._stage.node.redoes:
            self._take_back(turn, path, call)
            attempts.begin_anew(call)
            self._kind.drop(turn.request, path)
        self._dispatch(turn, path)

    def overdue(self, turn: Turn, path: str) -> None:
        """The time of a whole call is up."""
        call = turn.row.calls.get(path)
        if call is None or call.closed or call.due_ms is None:
            turn.decide(Did.IGNORED, path, 0 if call is None else call.attempt, why="the call is not open")
            return
        if turn.at.at_ms < call.due_ms:  # the clock that fired it is ahead of the log's
            turn.asked.append(Arm(path, call.attempt, 0, call.due_ms, due=True))
        else:
            why = f"{self._stage.name} had not ended after {self._stage.within_s:g} s"
            self._fail(turn, path, Cause.TIMEOUT, why)

    def whole(self, turn: Turn) -> tuple[Raw, Raised | None]:
        """What the last stage makes of the whole request, or what it raised, of which a letter is written."""
        try:
            (child,) = self._items.children(self._kind.attempt(turn, "") or [])
        except FAULTS as error:
            what = self._raised(error)
            self._outputs.dead_letter(turn, "", what.why, Cause.RAISED, what)
            return Raw(b"null"), what
        return child.value, None

    def known(self, turn: Turn) -> Raw:
        """What the last stage makes of what has come by now, for a request that ends without all of it; else null.

        Its function may have been written for a whole request, so what it raises here is no failure of its own.
        """
        try:
            (child,) = self._items.children(self._kind.attempt(turn, "") or [])
        except FAULTS:
            return Raw(b"null")
        return child.value

    def has_enough(self, turn: Turn) -> bool:
        """Whether the gather over the whole request may end now, by what is final."""
        if self._stage.enough is None:
            return False
        try:
            return bool(self._stage.enough(**self._joins.arguments(turn.row, "", final=True)))
        except FAULTS as error:  # the author's function is not ours to trust: the request goes on to its end
            if turn.request not in self._unsure:
                self._unsure.add(turn.request)
                what = raised(f"{self._stage.name}: its enough", error, with_values=self._with_values)
                self._outputs.dead_letter(turn, "", what.why, Cause.RAISED, what)
            return False

    def resume(self, turn: Turn) -> None:
        """What an owner that takes this row over must set going again: timers, and the work of map functions."""
        for path, call in turn.row.calls.items():
            if not call.closed and call.due_ms is not None:
                turn.asked.append(Arm(path, call.attempt, 0, call.due_ms, due=True))
            if not call.closed and self._kind.is_open(call):
                turn.asked.append(self._arm(turn, path))
                self._kind.resume(turn, path)

    def abandon(self, turn: Turn) -> None:
        """The request is over: whoever still works on what has been withdrawn is to stop."""
        for path in turn.row.calls:
            self._abort(turn, path)

    def forget(self, request: str) -> None:
        """Drop what is kept in memory beside the row."""
        self._kind.forget(request)
        self._unsure.discard(request)

    def _dispatch(self, turn: Turn, path: str) -> None:
        """Set the open attempt going; where all that it gives is there at once, the call ends."""
        call = turn.row.calls[path]
        try:
            found = self._kind.attempt(turn, path)
            children = None if found is None else self._items.children(found)
        except FAULTS as error:
            self._fail_raised(turn, path, error)
            return
        if children is not None:
            self._end(turn, path, children, Close(call.children + len(children)))
        elif self._kind.is_open(call):
            turn.asked.append(self._arm(turn, path))

    def _emit(
        self,
        turn: Turn,
        path: str,
        children: list[Child],
        close: Close | None,
        cause: Cause | None = None,
        what: Raised | None = None,
    ) -> None:
        call = turn.row.calls[path]
        if not children and close is None:
            return
        self._outputs.items(turn, path, call, children, close)
        self._outputs.shown_items(turn, path, call, children, close, what)
        if call.attempt:  # else only its input has failed, which has a dead letter of its own
            self._outputs.dead_letters(turn, path, children, close, cause, what)
        call.children += len(children)

    def _has_begun_on_what_is_gone(self, row: Row, path: str, call: CallState) -> bool:
        if not self._stage.node.volatile or call.held or call.attempt == call.before:
            return False  # one whose driver failed has gathered nothing
        return not self._joins.has_gathered(row, path)

    def _abort(self, turn: Turn, path: str) -> None:
        """Whoever works on this call is to stop."""
        self._kind.drop(turn.request, path)
        if not turn.row.calls[path].closed:
            self._kind.stop(turn, path)

    def _take_back(self, turn: Turn, path: str, call: CallState) -> None:
        """Withdraw all that has been told of this call; what it says from now on has the next epoch."""
        if call.closed or call.children or (self._stage.show == "text" and call.text):
            call.epoch += 1
            call.children = 0
            self._outputs.retract(turn, path, call)
            turn.decide(Did.RETRACTED, path, call.attempt, why=f"its items are those of epoch {call.epoch} from now on")

    def _end(
        self,
        turn: Turn,
        path: str,
        children: list[Child],
        close: Close,
        cause: Cause | None = None,
        what: Raised | None = None,
    ) -> None:
        call = turn.row.calls[path]
        turn.decide(Did.CLOSED, path, call.attempt, cause, close.cause, close.status)
        self._emit(turn, path, children, close, cause, what)
        # Of a run that has ended well nobody else knows; what comes again of its work item its first chunk tells.
        is_disputed = close.status is not Status.OK or call.attempt > 1 or call.starts > 1
        if call.attempt and is_disputed:
            self._kind.stop(turn, path)
        turn.row.calls[path] = CallState(
            call.attempt, call.before, call.epoch, children=call.children, shown=call.shown, closed=True
        )
        self._joins.release(turn.row, path)
        self._kind.drop(turn.request, path)

    def _fail(self, turn: Turn, path: str, cause: Cause, why: str) -> None:
        """End the call with the whole items that it has told."""
        self._end(turn, path, [], Close(turn.row.calls[path].children, Status.FAILED, why), cause)

    def _fail_raised(self, turn: Turn, path: str, error: BaseException) -> None:
        # The author's function is not ours to trust: its failure is a leaf, and the scope still closes.
        what = self._raised(error)
        close = Close(turn.row.calls[path].children, Status.FAILED, what.why)
        self._end(turn, path, [], close, Cause.RAISED, what)

    def _raised(self, error: BaseException) -> Raised:
        return raised(self._stage.name, error, with_values=self._with_values)

    def _arm(self, turn: Turn, path: str) -> Arm:
        call = turn.row.calls[path]
        return Arm(path, call.attempt, call.mark, turn.at.at_ms + self._kind.silence_ms)
