"""The prompt of an open call and the parser that reads its answer. Pure.

Both are made anew from the row where they are missing, so what is kept here beside the row is only a cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alto_streams.define.pipeline import Parser, Pipeline, Prompt
from alto_streams.scheduler.placing import Ask, Placing
from alto_streams.tables import attempts
from alto_streams.tables.joins import Joins
from alto_streams.tables.rows import Send
from alto_streams.tables.turns import Turn
from alto_streams.wire import topic_names
from alto_streams.wire.records import Call, Chunk, Home, Mode, Raw, Status, Work, encode
from alto_streams.wire.resume import rest_of


@dataclass(slots=True)
class _Open:
    """A call's prompt and the parser that has read `fed` characters of its text."""

    prompt: Prompt[Any]
    parser: Parser[Any]
    fed: int = 0


class Prompts:
    """What the open calls of one stage ask their model, and what of its answer has been read."""

    def __init__(self, pipeline: Pipeline, stage: str, joins: Joins, placing: Placing) -> None:
        self._pipeline, self._stage, self._joins, self._placing = pipeline, pipeline.stages[stage], joins, placing
        self._open: dict[tuple[str, str], _Open] = {}

    def work(self, turn: Turn, path: str) -> Send:
        """The work item of the open attempt. Raises whatever the author's function raises."""
        row, request, at = turn.row, turn.request, turn.at
        call, wire = row.calls[path], self._left(turn, path)
        if wire is None:
            raise ValueError("the call may write nothing: give its prompt max_tokens above 0")
        stage, written, due_ms = self._stage.name, len(call.text), row.context.deadline_ms
        partition, receipt = self._placing.place(
            Ask(stage, request, path, call.attempt, wire, written, at.at_ms, due_ms)
        )
        work = Work(
            request,
            stage,
            path,
            call.attempt,
            Home(at.topic, at.partition),
            self._stage.model or "",
            wire,
            prefix=call.text,
            prefix_tokens=call.tokens or None,
            flush="token" if self._stage.show == "text" else "line",
            context=row.context,
            receipt=receipt,
        )
        topic = topic_names.work_topic(self._pipeline.name, stage)
        return Send(topic, Raw(encode(work)), request, partition, call=(path, call.attempt))

    def is_written(self, turn: Turn, path: str) -> bool:
        """Whether the call has written all that it may: its tokens, its lines, its choice. Raises as `work`."""
        return self._left(turn, path) is None

    def read(self, turn: Turn, chunk: Chunk) -> list[Any]:
        """What the call's parser finds in this chunk, which is accepted into the stream. Raises as `work`."""
        call, opened = turn.row.calls[chunk.path], self._opened(turn, chunk.path)
        attempts.accept(call, chunk)
        found = opened.parser.feed(chunk.text, chunk.logprobs)
        opened.fed = len(call.text)
        if chunk.end is not None and chunk.end.status is Status.OK:
            return [*found, *opened.parser.close()]  # a stream that failed keeps its whole items only
        return found

    def rest(self, turn: Turn, path: str) -> list[Any]:
        """What the end of the text ends. Raises as `work`."""
        return self._opened(turn, path).parser.close()

    def drop(self, request: str, path: str) -> None:
        """The call is over, or begins anew."""
        self._open.pop((request, path), None)
        self._placing.over(request, path)

    def forget(self, request: str) -> None:
        """Drop all calls of a request."""
        for key in [key for key in self._open if key[0] == request]:
            del self._open[key]
        self._placing.forget(request)

    def _left(self, turn: Turn, path: str) -> Call | None:
        call, prompt = turn.row.calls[path], self._opened(turn, path).prompt
        return rest_of(prompt.call(), prompt.grammar, call.text, call.spent)

    def _opened(self, turn: Turn, path: str) -> _Open:
        row, request = turn.row, turn.request
        call, opened = row.calls[path], self._open.get((request, path))
        if opened is None or opened.fed != len(call.text):
            prompt: Prompt[Any] = self._stage.function(**self._joins.arguments(row, path))
            coarse = self._pipeline.coarse_barrier and row.context.mode is Mode.BARRIER
            parser = prompt.parse.coarse() if coarse else prompt.parse
            opened = self._open[request, path] = _Open(prompt, parser)
            if call.text:
                parser.feed(call.text, call.logprobs)
                opened.fed = len(call.text)
        return opened
