"""What a home tells the others: items and closes to the stages that consume them, events to the client. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from alto_streams.define.raised import Raised
from alto_streams.define.stages import Stage
from alto_streams.tables.decisions import Cause, Did
from alto_streams.tables.rows import CallState, Send
from alto_streams.tables.turns import Turn
from alto_streams.wire import topic_names
from alto_streams.wire.paths import child_path
from alto_streams.wire.records import (
    Cancel,
    Child,
    Close,
    ControlRecord,
    DeadLetter,
    Event,
    EventKind,
    HomeRecord,
    Items,
    Mode,
    Raw,
    Retract,
    Status,
    Wire,
    encode,
)


class Outputs:
    """The records that one stage's home appends: each method adds to what its turn asks for."""

    def __init__(self, pipeline: str, stage: Stage) -> None:
        self.pipeline, self._stage, self._name = pipeline, stage, stage.name
        self._results = topic_names.results_topic(pipeline)
        self._letters = topic_names.dead_letters_topic(pipeline)

    def items(self, turn: Turn, path: str, call: CallState, children: list[Child], close: Close | None) -> None:
        """New children of the stream at `path`, and its close, to every consumer that wants them."""
        encoded: dict[tuple[bool, bool], Raw] = {}  # most consumers are told the same
        context = turn.row.context
        for route in self._stage.node.routes:
            told = route.children and bool(children)
            ended = close is not None and (route.closes or (route.held and context.mode is Mode.BARRIER))
            if told or ended:
                if (told, ended) not in encoded:
                    told_of = (call.children, call.epoch, children if told else [], close if ended else None)
                    encoded[told, ended] = Raw(encode(Items(turn.request, self._name, path, *told_of, context)))
                # A close may end the request: nothing that the client is to see may come after that.
                topic = topic_names.home_topic(self.pipeline, route.consumer)
                turn.asked.append(Send(topic, encoded[told, ended], key=turn.request, last=ended))

    def shown_items(
        self,
        turn: Turn,
        path: str,
        call: CallState,
        children: list[Child],
        close: Close | None,
        what: Raised | None = None,
    ) -> None:
        """The client's view of the same. `what`: a function of the author raised, which every client is to know."""
        if self._stage.show == "nothing" and what is None:
            return
        if self._stage.show == "items":
            for offset, child in enumerate(children):
                body = {"value": child.value} | _ending(child.status, child.cause)
                item = child_path(path, call.children + offset, call.epoch)
                self.event(turn, EventKind.ITEM, item, 0, body)
        if close is not None and (self._stage.show == "text" or close.status is not Status.OK):
            body = {"count": close.count} | _ending(close.status, close.cause)
            if what is not None:
                body["raised"] = what.error
            self.event(turn, EventKind.CLOSE, path, call.shown, body)
            call.shown += 1

    def shown_text(self, turn: Turn, path: str, call: CallState, text: str) -> None:
        """Accepted text of a stream that the client watches."""
        if self._stage.show == "text" and text:
            self.event(turn, EventKind.CHUNK, path, call.shown, {"text": text})
            call.shown += 1

    def retract(self, turn: Turn, path: str, call: CallState) -> None:
        """All children of the stream at `path` are withdrawn; the call's epoch is the one that replaces them."""
        body = {"first": 0, "epoch": call.epoch, "stages": self._stage.node.below}
        self.event(turn, EventKind.RETRACTED, path, call.epoch, body)
        for name in self._stage.node.derived:
            self.to_stage(turn, name, Retract(turn.request, self._name, path, 0, call.epoch))

    def cancelled(self, turn: Turn, cancel: Cancel, below: Sequence[str]) -> None:
        """The client's view of an item that was cancelled, with what these stages have below it."""
        body = Raw(_encode({"count": 0, "stages": below} | _ending(cancel.status, cancel.cause)))
        event = Event(cancel.request, EventKind.CLOSE, cancel.stage, cancel.path, 0, turn.at.at_ms, body)
        self._keyed(turn, self._results, event)

    def event(self, turn: Turn, kind: EventKind, path: str, number: int, body: dict[str, Any]) -> None:
        """One client event."""
        record = Event(turn.request, kind, self._name, path, number, turn.at.at_ms, Raw(_encode(body)))
        self._keyed(turn, self._results, record)

    def dead_letters(
        self,
        turn: Turn,
        path: str,
        children: list[Child],
        close: Close | None,
        cause: Cause | None = None,
        what: Raised | None = None,
    ) -> None:
        """Failed leaves, with their cause and the record that they came from. `cause`, `what`: of a failed close."""
        for child in children:
            if child.status is Status.FAILED:
                self.dead_letter(turn, path, child.cause, Cause.PARSE)
        if close is not None and close.status is Status.FAILED:
            self.dead_letter(turn, path, close.cause, cause, what)

    def dead_letter(
        self, turn: Turn, path: str, why: str | None, cause: Cause | None, what: Raised | None = None
    ) -> None:
        """What failed at `path`; `what`: a function of the author raised."""
        at, call, trace = turn.at, turn.row.calls.get(path), "" if what is None else what.trace
        place = (at.topic, at.partition, at.offset)
        letter = DeadLetter(why or "", self._name, turn.request, path, *place, trace=trace)
        self._keyed(turn, self._letters, letter)
        attempt = 0 if call is None else call.attempt
        turn.decide(Did.LETTER, path, attempt, cause or Cause.OTHER, why, trace=trace)

    def control(self, turn: Turn, record: ControlRecord) -> None:
        """To every worker."""
        turn.asked.append(Send(topic_names.control_topic(self.pipeline), Raw(encode(record))))

    def to_stage(self, turn: Turn, stage: str, record: HomeRecord) -> None:
        """To the home of the request at another stage."""
        self._keyed(turn, topic_names.home_topic(self.pipeline, stage), record)

    @staticmethod
    def _keyed(turn: Turn, topic: str, record: Wire) -> None:
        turn.asked.append(Send(topic, Raw(encode(record)), key=turn.request))


def _ending(status: Status, cause: str | None) -> dict[str, Any]:
    return {} if status is Status.OK else {"status": status, "cause": cause}


_encode = msgspec.json.Encoder().encode
