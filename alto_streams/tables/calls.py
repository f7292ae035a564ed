"""The life of a call at its home: opened, dispatched, streamed, parsed, closed. Pure.

Every method takes the row it may change and the place of the record that caused it, and returns what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from alto_streams import topic_names
from alto_streams.pipeline import ParseFailure, Parser, Pipeline, Prompt
from alto_streams.records import (
    Child,
    Chunk,
    Close,
    Ended,
    Home,
    Mode,
    Raw,
    Result,
    Status,
    Work,
    encode,
)
from alto_streams.tables import attempts
from alto_streams.tables.joins import Joins
from alto_streams.tables.outputs import At, Outputs
from alto_streams.tables.rows import Arm, CallState, Instruction, Row, Run, Send
from alto_streams.topology import Kind

# (stage, request, path, attempt) -> partition of the stage's work topic: all that a plan may decide
Place = Callable[[str, str, str, int], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a home bounds. `silence_ms`: since the followed start or the last accepted chunk of a call."""

    max_attempts: int
    silence_ms: int


@dataclass(slots=True)
class _Open:
    """A call's prompt and the parser that has read `fed` characters of its text: made anew from the row if missing."""

    prompt: Prompt[Any]
    parser: Parser[Any]
    fed: int = 0


class Calls:
    """The calls of one stage."""

    def __init__(self, pipeline: Pipeline, stage: str, joins: Joins, outputs: Outputs, place: Place, limits: Limits):
        self._stage = pipeline.stages[stage]
        self._joins, self._outputs, self._place, self._limits = joins, outputs, place, limits
        self._pipeline, self._open = pipeline, dict[tuple[str, str], _Open]()

    def open_ready(self, row: Row, request: str, at: At) -> list[Instruction]:
        """Open every call whose inputs are there."""
        out: list[Instruction] = []
        for path in self._joins.pending(row):
            cause = self._joins.driver_failure(row, path)
            if cause is not None:
                row.calls[path] = CallState()
                out += self._end(row, request, path, at, [], Close(0, Status.FAILED, "its input failed: " + cause))
            elif self._joins.is_ready(row, path):
                row.calls[path] = CallState(attempt=1)
                out += self._begin(row, request, path, at)
        return out

    def chunk(self, row: Row, request: str, chunk: Chunk, at: At) -> list[Instruction]:
        """Accept the next chunk of the followed run."""
        call, out = row.calls[chunk.path], list[Instruction]()
        try:
            found = self._read(row, request, chunk)
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
        call = row.calls[path]
        out: list[Instruction] = []
        if call.attempt >= self._limits.max_attempts:
            cause = f"gave up after {call.attempt} attempts: {cause}"
            return self._end(row, request, path, at, [], Close(call.children, Status.FAILED, cause))
        if self._stage.node.kind is Kind.GENERATE:
            out.append(self._outputs.control(Ended(request, self._stage.name, path, call.attempt)))
        attempts.next_attempt(call)
        return out + self._dispatch(row, request, path, at)

    def gathered(self, row: Row, path: str) -> tuple[Raw, str | None]:
        """What the gather function says of the scope at `path`, or why it failed."""
        try:
            return Raw(msgspec.json.encode(self._stage.function(**self._joins.arguments(row, path)))), None
        except Exception as error:
            return Raw(b"null"), self._raised(error)

    def resume(self, row: Row, at: At) -> list[Instruction]:
        """What an owner that takes this row over must set going again: timers, and the work of map functions."""
        out: list[Instruction] = []
        for path, call in row.calls.items():
            if not call.closed and (call.run is not None or self._stage.node.kind is Kind.MAP):
                out.append(self._arm(call, path, at))
                if self._stage.node.kind is Kind.MAP:
                    out.append(Run(path, call.attempt))
        return out

    def forget(self, request: str) -> None:
        """Drop what is kept in memory beside the row."""
        for key in [key for key in self._open if key[0] == request]:
            del self._open[key]

    def _begin(self, row: Row, request: str, path: str, at: At) -> list[Instruction]:
        if self._stage.node.kind is Kind.GATHER:
            value, cause = self.gathered(row, path)
            if cause is None:
                return self._end(row, request, path, at, [Child(value)], Close(1))
            return self._end(row, request, path, at, [], Close(0, Status.FAILED, cause))
        return self._dispatch(row, request, path, at)

    def _dispatch(self, row: Row, request: str, path: str, at: At) -> list[Instruction]:
        call = row.calls[path]
        try:
            if self._stage.node.kind is Kind.MAP:
                self._joins.arguments(row, path)  # whoever runs the function has them as typed values, or never
                return [Run(path, call.attempt), self._arm(call, path, at)]
            wire = self._opened(row, request, path).prompt.call()
        except Exception as error:
            return self._end(row, request, path, at, [], self._failed(call, error))
        wire = msgspec.structs.replace(wire, max_tokens=max(1, wire.max_tokens - call.spent))
        work = Work(
            request,
            self._stage.name,
            path,
            call.attempt,
            Home(at.topic, at.partition),
            self._stage.model or "",
            wire,
            prefix=call.text,
            prefix_tokens=call.tokens or None,
            flush="token" if self._stage.show == "text" else "line",
            context=row.context,
        )
        topic = topic_names.work_topic(self._pipeline.name, self._stage.name)
        partition = self._place(self._stage.name, request, path, call.attempt)
        return [Send(topic, Raw(encode(work)), key=request, partition=partition)]

    def _read(self, row: Row, request: str, chunk: Chunk) -> list[Any]:
        """What the call's parser finds in this chunk, which is accepted into the stream."""
        call, opened = row.calls[chunk.path], self._opened(row, request, chunk.path)
        attempts.accept(call, chunk)
        found = opened.parser.feed(chunk.text, chunk.logprobs)
        opened.fed = len(call.text)
        if chunk.end is not None and chunk.end.status is Status.OK:
            return [*found, *opened.parser.close()]  # a stream that failed keeps its whole items only
        return found

    def _opened(self, row: Row, request: str, path: str) -> _Open:
        call, opened = row.calls[path], self._open.get((request, path))
        if opened is None or opened.fed != len(call.text):
            prompt: Prompt[Any] = self._stage.function(**self._joins.arguments(row, path))
            parser = prompt.parse.coarse() if row.context.mode is Mode.BARRIER else prompt.parse
            opened = self._open[request, path] = _Open(prompt, parser)
            if call.text:
                parser.feed(call.text, call.logprobs)
                opened.fed = len(call.text)
        return opened

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

    def _end(self, row: Row, request: str, path: str, at: At, children: list[Child], close: Close) -> list[Instruction]:
        call = row.calls[path]
        out = self._emit(row, request, path, at, children, close)
        if self._stage.node.kind is Kind.GENERATE and call.attempt:
            out.append(self._outputs.control(Ended(request, self._stage.name, path, call.attempt)))
        row.calls[path] = CallState(attempt=call.attempt, children=call.children, closed=True)
        self._joins.release(row, path)
        self._open.pop((request, path), None)
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
