"""Calls of an async function: the home's worker runs it, and its `Result` comes back as a record of the home. Pure."""

from __future__ import annotations

from typing import Any

from alto_streams.tables.kinds.call_kind import CallKind, Tools
from alto_streams.tables.rows import CallState, Run
from alto_streams.tables.turns import Turn


class MapCalls(CallKind):
    """The calls of one stage's map function."""

    def __init__(self, stage: str, tools: Tools) -> None:
        super().__init__(stage, tools)
        self.silence_ms = int(self._stage.timeout_s * 1000)

    def attempt(self, turn: Turn, path: str) -> list[Any] | None:
        self._joins.arguments(turn.row, path)  # whoever runs the function has them as typed values, or never
        self.resume(turn, path)
        return None

    def is_open(self, call: CallState) -> bool:
        return True

    def resume(self, turn: Turn, path: str) -> None:
        turn.asked.append(Run(path, turn.row.calls[path].attempt))
