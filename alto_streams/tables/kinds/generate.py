"""Calls that a language model writes: each attempt is a work item, and runs of it tell the home their chunks. Pure."""

from __future__ import annotations

from typing import Any

from alto_streams.tables.kinds.call_kind import CallKind, Tools
from alto_streams.tables.prompts import Prompts
from alto_streams.tables.turns import Turn
from alto_streams.wire.records import Chunk, Ended


class GenerateCalls(CallKind):
    """The LM calls of one stage."""

    def __init__(self, stage: str, tools: Tools) -> None:
        super().__init__(stage, tools)
        self._prompts = Prompts(tools.pipeline, stage, tools.joins, tools.placing)

    def attempt(self, turn: Turn, path: str) -> list[Any] | None:
        if turn.row.calls[path].text and self._prompts.is_written(turn, path):
            return self._prompts.rest(turn, path)  # it had written all that it may when it broke off
        turn.asked.append(self._prompts.work(turn, path))
        return None

    def read(self, turn: Turn, chunk: Chunk) -> list[Any]:
        return self._prompts.read(turn, chunk)

    def stop(self, turn: Turn, path: str) -> None:
        attempt = turn.row.calls[path].attempt
        self._outputs.control(turn, Ended(turn.request, self._stage.name, path, attempt))

    def drop(self, request: str, path: str) -> None:
        self._prompts.drop(request, path)

    def forget(self, request: str) -> None:
        self._prompts.forget(request)
