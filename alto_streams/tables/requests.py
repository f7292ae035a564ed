"""The request as a whole: its deadline, its end, and what every stage and worker hears of both. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.define.raised import Raised
from alto_streams.define.stages import Stage
from alto_streams.tables.calls import Calls
from alto_streams.tables.decisions import Cause, Did
from alto_streams.tables.outputs import Outputs
from alto_streams.tables.rows import Arm
from alto_streams.tables.turns import Turn
from alto_streams.wire.records import Cancel, Cancelled, EventKind, Forget, Raw, Status

# The deadline's timer at the root: no call has attempt 0.
DEADLINE = 0
OVERDUE = "deadline exceeded"
NOTHING = Raw(b"null")


class Requests:
    """Requests as the home of one stage knows them; only that of the root ends one."""

    def __init__(self, pipeline: Pipeline, stage: Stage, outputs: Outputs, calls: Calls) -> None:
        self._pipeline, self._stage, self._outputs, self._calls = pipeline, stage, outputs, calls
        self._others = [name for name in pipeline.stages if name != stage.name]

    def keep_deadline(self, turn: Turn) -> bool:
        """End the request if its deadline has passed, else have its timer set. Returns whether it has ended."""
        due_ms = turn.row.context.deadline_ms
        if due_ms is None:
            return False
        if turn.at.at_ms < due_ms:
            turn.asked.append(Arm("", DEADLINE, 0, due_ms))
            return False
        self.end(turn, Status.FAILED, OVERDUE, Cause.DEADLINE, self._calls.known(turn))
        return True

    def end(
        self,
        turn: Turn,
        status: Status,
        why: str | None = None,
        cause: Cause | None = None,
        result: Raw = NOTHING,
        *,
        early: bool = False,
        what: Raised | None = None,
    ) -> None:
        """Tell the client, every stage and, where calls are under way, the workers that the request has ended."""
        turn.decide(Did.ENDED, "", 0, cause, why or ("it had enough" if early else ""), status)
        body: dict[str, Any] = {"status": status, "result": result}
        body |= ({"cause": why} if why else {}) | ({"early": True} if early else {})
        body |= {} if what is None else {"raised": what.error}
        if early or status is not Status.OK:  # what the workers hear first is what engines are freed by
            self._outputs.control(turn, Cancelled(turn.request, ""))
        self._outputs.event(turn, EventKind.DONE, "", 0, body)
        for name in self._others:
            self._outputs.to_stage(turn, name, Forget(turn.request))
        self.forget(turn, status)

    def forget(self, turn: Turn, status: Status) -> None:
        """The request has ended: stop what is still made for it, and leave only the marker."""
        self._calls.abandon(turn)
        turn.row.finish(status)
        self._calls.forget(turn.request)

    def tell_cancelled(self, turn: Turn, cancel: Cancel) -> None:
        """Tell the workers, the other homes and the client that an item is cancelled, with all that derives from it."""
        told = msgspec.structs.replace(cancel, context=turn.row.context)
        node = self._pipeline.stages[cancel.stage].node
        below = list(node.below[1:])
        # The workers hear of it sooner than by way of their homes.
        self._outputs.control(turn, Cancelled(turn.request, cancel.path, below))
        for name in node.derived:
            if name != self._stage.name:
                self._outputs.to_stage(turn, name, told)
        self._outputs.cancelled(turn, cancel, below)
