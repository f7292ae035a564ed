"""Calls of a pure function over a whole scope: it is run at the home, as soon as all of its inputs are there. Pure."""

from __future__ import annotations

from typing import Any

from alto_streams.tables.kinds.call_kind import CallKind
from alto_streams.tables.turns import Turn


class GatherCalls(CallKind):
    """The calls of one stage's gather function."""

    def attempt(self, turn: Turn, path: str) -> list[Any] | None:
        return [self._stage.function(**self._joins.arguments(turn.row, path))]
