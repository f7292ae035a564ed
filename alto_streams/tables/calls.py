"""The life of a call at its home: opened, dispatched, streamed, parsed, closed. Pure.

Every method takes the row it may change and the place of the record that caused it, and returns what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from alto_streams.define.pipeline import ParseFailure, Pipeline
from alto_streams.define.topology import Kind
from alto_streams.scheduler.placing import Placing
from alto_streams.tables import attempts
from alto_streams.tables.joins import Joins
from alto_streams.tables.outputs import At, Outputs
from alto_streams.tables.prompts import Prompts
from alto_streams.tables.rows import Arm, CallState, Instruction, Row, Run
from alto_streams.tables.withdrawals import Withdrawals
from alto_streams.wire.records import (
    Child,
    Chunk,
    Close,
    Ended,
    Raw,
    Result,
    Status,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a home bounds. `silence_ms`: since the followed start or the last accepted chunk of a call."""

    max_attempts: int
    silence_ms: int


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
        self._joins, self._dead, self._outputs, self._limits = joins, dead, outputs, limits
        self._prompts = Prompts(pipeline, stage, joins, placing)

    def open_ready(self, row: Row, request: str, at: At) -> list[Instruction]:
        """Open every call whose inputs are there."""
        out: list[Instruction] = []
        for path in self._joins.pending(row):
            cause = self._joins.driver_failure(row, path)
            if cause is None and not self._joins.is_ready(row, path):
                continue
            held = row.calls.get(path) or CallState()
            tried = held.attempt + (cause is None)
            row.calls[path] = CallState(tried, held.attempt, held.epoch, shown=held.shown)
            if cause is None:
                out += self._begin(row, request, path, at)
            else:
                out += self._end(row, request, path, at, [], Close(0, Status.FAILED, "its input failed: " + cause))
        return out

    def withdraw(self, row: Row, request: str, at: At) -> list[Instruction]:
        """Something has died: end the calls that died with it, hold those that had begun on what is no more."""
        out: list[Instruction] = []
        for path, call in list(row.calls.items()):
            if self._dead.is_dead(row, self._stage.name, path):
                out += self._abort(request, path, call)
                del row.calls[path]
            elif self._has_begun_on_what_is_gone(row, path, call):
                out += self._abort(request, path, call)
                out += self._take_back(request, path, call, at)
                row.calls[path] = CallState(
                    call.attempt, call.before, call.epoch, shown=call.shown, closed=True, held=True
                )
        return out

    def chunk(self, row: Row, request: str, chunk: Chunk, at: At) -> list[Instruction]:
        """Accept the next chunk of the followed run."""
        call, out = row.calls[chunk.path], list[Instruction]()
        try:
            found = self._prompts.read(row, request, chunk)
        except Exception as error:
            return self._end(row, request, chunk.path, at, [], self._failed(call, error))
        out += self._outputs.shown_text(request, chunk.path, call, chunk.text, at)
        if chunk.end is None:
            out += self._emit(row, request, chunk.path, at, _children(found), None)
            return [*out, self._arm(call, chunk.path, at)]
        if chunk.end.status is not Status.OK and chunk.end.reason == "error":
            out += self._emit(row, request, chunk.path, at, _children(found), None)
            return [*out, *self.retry(row, request, chunk.path, at, chunk.end.cause or "the engine failed")]
        children = _children(found)
        close = Close(call.children + len(children), chunk.end.status, chunk.end.cause)
        return out + self._end(row, request, chunk.path, at, children, close)

    def result(self, row: Row, request: str, result: Result, at: At) -> list[Instruction]:
        """Accept what a map function returned."""
        close = Close(len(result.children), result.status, result.cause)
        return self._end(row, request, result.path, at, result.children, close)

    def follow(self, row: Row, path: str, run: str, at: At) -> list[Instruction]:
        """Follow a run."""
        call = row.calls[path]
        attempts.follow(call, run)
        return [self._arm(call, path, at)]

    def retry(self, row: Row, request: str, path: str, at: At, cause: str) -> list[Instruction]:
        """End the open attempt; the next one continues from the accepted text, unless there have been too many."""
        call, tried = row.calls[path], row.calls[path].attempt - row.calls[path].before
        out: list[Instruction] = []
        if tried >= self._limits.max_attempts:
            cause = f"gave up after {tried} attempts: {cause}"
            return self._end(row, request, path, at, [], Close(call.children, Status.FAILED, cause))
        if self._stage.node.kind is Kind.GENERATE:
            out.append(self._outputs.control(Ended(request, self._stage.name, path, call.attempt)))
        attempts.next_attempt(call)
        if self._stage.node.redoes:
            out += self._take_back(request, path, call, at)
            attempts.begin_anew(call)
            self._prompts.drop(request, path)
        elif call.text and self._stage.node.kind is Kind.GENERATE and (ended := self._written(row, request, path, at)):
            return out + ended
        return out + self._dispatch(row, request, path, at)

    def overdue(self, row: Row, request: str, path: str, at: At) -> list[Instruction]:
        """The time of a whole call is up."""
        call = row.calls.get(path)
        if call is None or call.closed or call.due_ms is None:
            return []
        if at.at_ms < call.due_ms:  # the clock that fired it is ahead of the log's
            return [Arm(path, call.attempt, 0, call.due_ms, due=True)]
        cause = f"{self._stage.name} had not ended after {self._stage.within_s:g} s"
        return self._end(row, request, path, at, [], Close(call.children, Status.FAILED, cause))

    def gathered(self, row: Row, path: str) -> tuple[Raw, str | None]:
        """What the gather function says of the scope at `path`, or why it failed."""
        try:
            return Raw(msgspec.json.encode(self._stage.function(**self._joins.arguments(row, path)))), None
        except Exception as error:
            return Raw(b"null"), self._raised(error)

    def has_enough(self, row: Row) -> bool:
        """Whether the gather over the whole request may end now, by what is final."""
        if self._stage.enough is None:
            return False
        try:
            return bool(self._stage.enough(**self._joins.arguments(row, "", final=True)))
        except Exception:
            return False  # the author's function is not ours to trust: the request goes on to its end

    def resume(self, row: Row, at: At) -> list[Instruction]:
        """What an owner that takes this row over must set going again: timers, and the work of map functions."""
        out: list[Instruction] = []
        for path, call in row.calls.items():
            if not call.closed and call.due_ms is not None:
                out.append(Arm(path, call.attempt, 0, call.due_ms, due=True))
            if not call.closed and (call.run is not None or self._stage.node.kind is Kind.MAP):
                out.append(self._arm(call, path, at))
                if self._stage.node.kind is Kind.MAP:
                    out.append(Run(path, call.attempt))
        return out

    def abandon(self, row: Row, request: str) -> list[Instruction]:
        """The request is over: whoever still works on what has been withdrawn is to stop."""
        return [told for path, call in row.calls.items() for told in self._abort(request, path, call)]

    def forget(self, request: str) -> None:
        """Drop what is kept in memory beside the row."""
        self._prompts.forget(request)

    def _begin(self, row: Row, request: str, path: str, at: At) -> list[Instruction]:
        if self._stage.node.kind is Kind.GATHER:
            value, cause = self.gathered(row, path)
            if cause is None:
                return self._end(row, request, path, at, [Child(value)], Close(1))
            return self._end(row, request, path, at, [], Close(0, Status.FAILED, cause))
        out: list[Instruction] = []
        if self._stage.within_s is not None:
            call = row.calls[path]
            call.due_ms = at.at_ms + int(self._stage.within_s * 1000)
            out.append(Arm(path, call.attempt, 0, call.due_ms, due=True))
        return out + self._dispatch(row, request, path, at)

    def _dispatch(self, row: Row, request: str, path: str, at: At) -> list[Instruction]:
        call = row.calls[path]
        try:
            if self._stage.node.kind is Kind.MAP:
                self._joins.arguments(row, path)  # whoever runs the function has them as typed values, or never
                return [Run(path, call.attempt), self._arm(call, path, at)]
            return [self._prompts.work(row, request, path, at)]
        except Exception as error:
            return self._end(row, request, path, at, [], self._failed(call, error))

    def _written(self, row: Row, request: str, path: str, at: At) -> list[Instruction]:
        """The end of a call that had written all that it may when it broke off."""
        call = row.calls[path]
        try:
            if not self._prompts.is_written(row, request, path):
                return []
            children = _children(self._prompts.rest(row, request, path))
        except Exception as error:
            return self._end(row, request, path, at, [], self._failed(call, error))
        return self._end(row, request, path, at, children, Close(call.children + len(children)))

    def _emit(
        self, row: Row, request: str, path: str, at: At, children: list[Child], close: Close | None
    ) -> list[Instruction]:
        call = row.calls[path]
        out: list[Instruction] = []
        if children or close is not None:
            out += self._outputs.items(request, row.context, path, call, children, close)
            out += self._outputs.shown_items(request, path, call, children, close, at)
            if call.attempt:  # else only its input has failed, which has a dead letter of its own
                out += self._outputs.dead_letters(request, path, children, close, at)
            call.children += len(children)
        return out

    def _has_begun_on_what_is_gone(self, row: Row, path: str, call: CallState) -> bool:
        if not self._stage.node.volatile or call.held or call.attempt == call.before:
            return False  # one whose driver failed has gathered nothing
        return not self._joins.has_gathered(row, path)

    def _abort(self, request: str, path: str, call: CallState) -> list[Instruction]:
        """Whoever works on this call is to stop."""
        self._prompts.drop(request, path)
        if call.closed or self._stage.node.kind is not Kind.GENERATE:
            return []
        return [self._outputs.control(Ended(request, self._stage.name, path, call.attempt))]

    def _take_back(self, request: str, path: str, call: CallState, at: At) -> list[Instruction]:
        """Withdraw all that has been told of this call; what it says from now on has the next epoch."""
        is_told = call.closed or call.children or (self._stage.show == "text" and call.text)
        if not is_told:
            return []
        call.epoch += 1
        call.children = 0
        return list(self._outputs.retract(request, path, call, at))

    def _end(self, row: Row, request: str, path: str, at: At, children: list[Child], close: Close) -> list[Instruction]:
        call = row.calls[path]
        out = self._emit(row, request, path, at, children, close)
        # Of a run that has ended well nobody else knows; what comes again of its work item its first chunk tells.
        is_disputed = close.status is not Status.OK or call.attempt > 1 or call.starts > 1
        if self._stage.node.kind is Kind.GENERATE and call.attempt and is_disputed:
            out.append(self._outputs.control(Ended(request, self._stage.name, path, call.attempt)))
        row.calls[path] = CallState(
            call.attempt, call.before, call.epoch, children=call.children, shown=call.shown, closed=True
        )
        self._joins.release(row, path)
        self._prompts.drop(request, path)
        return out

    def _failed(self, call: CallState, error: Exception) -> Close:
        return Close(call.children, Status.FAILED, self._raised(error))

    def _raised(self, error: Exception) -> str:
        # The author's function is not ours to trust: its failure is a leaf, and the scope still closes.
        return f"{self._stage.name} raised {type(error).__name__}"

    def _arm(self, call: CallState, path: str, at: At) -> Arm:
        silence = self._limits.silence_ms
        if self._stage.node.kind is Kind.MAP:
            silence = int(self._stage.timeout_s * 1000)
        return Arm(path, call.attempt, call.mark, at.at_ms + silence)


def _children(found: list[Any]) -> list[Child]:
    return [
        Child(status=Status.FAILED, cause=item.cause)
        if isinstance(item, ParseFailure)
        else Child(Raw(msgspec.json.encode(item)))
        for item in found
    ]
