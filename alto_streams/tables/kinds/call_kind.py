"""What differs between the kinds of stages: how an attempt of a call is made, and who hears that it is over. Pure.

All else of a call's life is the same for every kind (`tables/calls.py`). A new kind is a module of this folder that is
named as the kind is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from alto_streams.define.pipeline import Pipeline
from alto_streams.scheduler.placing import Placing
from alto_streams.tables.joins import Joins
from alto_streams.tables.outputs import Outputs
from alto_streams.tables.rows import CallState
from alto_streams.tables.turns import Turn
from alto_streams.wire.records import Chunk


class Tools(NamedTuple):
    """What a kind of stage works with: its pipeline, the inputs of its calls, and whom it tells.

    `silence_ms`: how long nothing may be heard of a run that is followed.
    """

    pipeline: Pipeline
    joins: Joins
    outputs: Outputs
    placing: Placing
    silence_ms: int


class CallKind:
    """How calls of one stage are made. Methods that ask for something add it to their turn.

    `silence_ms`: how long nothing may be heard of an open attempt.
    """

    def __init__(self, stage: str, tools: Tools) -> None:
        self._stage, self._joins, self._outputs = tools.pipeline.stages[stage], tools.joins, tools.outputs
        self.silence_ms = tools.silence_ms

    def attempt(self, turn: Turn, path: str) -> list[Any] | None:
        """Set the open attempt going. Returns the call's items if they are all there already, else None.

        Raises whatever the author's function raises.
        """
        raise TypeError(f"nothing says how the attempts of a {self._stage.node.kind} are made")

    def read(self, turn: Turn, chunk: Chunk) -> list[Any]:
        """The items that a chunk of the followed run ends. Raises whatever the author's function raises."""
        raise TypeError(f"no model writes what comes of a {self._stage.node.kind}")

    def is_open(self, call: CallState) -> bool:
        """Whether something is to be heard of the open attempt within `silence_ms`."""
        return call.run is not None

    def resume(self, turn: Turn, path: str) -> None:
        """Another worker owns the call: set going again what the one before did for its open attempt."""

    def stop(self, turn: Turn, path: str) -> None:
        """The open attempt is over: tell whoever makes it."""

    def drop(self, request: str, path: str) -> None:
        """The call is over, or begins anew: drop what is kept in memory beside the row."""

    def forget(self, request: str) -> None:
        """So are all calls of the request."""
