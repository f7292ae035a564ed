"""What a home tells the others: items and closes to the stages that consume them, events to the client. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from alto_streams.define.stages import Stage
from alto_streams.tables.rows import CallState, Send
from alto_streams.wire import topic_names
from alto_streams.wire.paths import child_path
from alto_streams.wire.records import (
    Cancel,
    Child,
    Close,
    Context,
    DeadLetter,
    Event,
    EventKind,
    Items,
    Mode,
    Raw,
    Retract,
    Status,
    Wire,
    encode,
)


class At(msgspec.Struct, frozen=True):
    """Where a record stands in the log, and when it was appended."""

    topic: str
    partition: int
    offset: int
    at_ms: int


class Outputs:
    """The records that one stage's home appends."""

    def __init__(self, pipeline: str, stage: Stage) -> None:
        self.pipeline, self._stage, self._name = pipeline, stage, stage.name
        self._results = topic_names.results_topic(pipeline)

    def items(
        self, request: str, context: Context, path: str, call: CallState, children: list[Child], close: Close | None
    ) -> list[Send]:
        """New children of the stream at `path`, and its close, to every consumer that wants them."""
        sends = []
        encoded: dict[tuple[bool, bool], Raw] = {}  # most consumers are told the same
        for route in self._stage.node.routes:
            told = route.children and bool(children)
            ended = close is not None and (route.closes or (route.held and context.mode is Mode.BARRIER))
            if told or ended:
                if (told, ended) not in encoded:
                    told_of = (call.children, call.epoch, children if told else [], close if ended else None)
                    encoded[told, ended] = Raw(encode(Items(request, self._name, path, *told_of, context)))
                # A close may end the request: nothing that the client is to see may come after that.
                topic = topic_names.home_topic(self.pipeline, route.consumer)
                sends.append(Send(topic, encoded[told, ended], key=request, last=ended))
        return sends

    def shown_items(
        self, request: str, path: str, call: CallState, children: list[Child], close: Close | None, at: At
    ) -> list[Send]:
        """The client's view of the same."""
        if self._stage.show == "nothing":
            return []
        sends = []
        if self._stage.show == "items":
            for offset, child in enumerate(children):
                body = {"value": child.value} | _ending(child.status, child.cause)
                item = child_path(path, call.children + offset, call.epoch)
                sends.append(self.event(request, EventKind.ITEM, item, 0, at, body))
        if close is not None and (self._stage.show == "text" or close.status is not Status.OK):
            body = {"count": close.count} | _ending(close.status, close.cause)
            sends.append(self.event(request, EventKind.CLOSE, path, call.shown, at, body))
            call.shown += 1
        return sends

    def shown_text(self, request: str, path: str, call: CallState, text: str, at: At) -> list[Send]:
        """Accepted text of a stream that the client watches."""
        if self._stage.show != "text" or not text:
            return []
        call.shown += 1
        return [self.event(request, EventKind.CHUNK, path, call.shown - 1, at, {"text": text})]

    def retract(self, request: str, path: str, call: CallState, at: At) -> list[Send]:
        """All children of the stream at `path` are withdrawn; the call's epoch is the one that replaces them."""
        derived = self._stage.node.derived
        record = Retract(request, self._name, path, 0, call.epoch)
        body = {"first": 0, "epoch": call.epoch, "stages": self._stage.node.below}
        told = self.event(request, EventKind.RETRACTED, path, call.epoch, at, body)
        return [told, *(self.to_stage(name, request, record) for name in derived)]

    def cancelled(self, cancel: Cancel, below: Sequence[str], at: At) -> Send:
        """The client's view of an item that was cancelled, with what these stages have below it."""
        body = Raw(_encode({"count": 0, "stages": below} | _ending(cancel.status, cancel.cause)))
        event = Event(cancel.request, EventKind.CLOSE, cancel.stage, cancel.path, 0, at.at_ms, body)
        return self._keyed(self._results, cancel.request, event)

    def event(self, request: str, kind: EventKind, path: str, number: int, at: At, body: dict[str, Any]) -> Send:
        """One client event."""
        record = Event(request, kind, self._name, path, number, at.at_ms, Raw(_encode(body)))
        return self._keyed(self._results, request, record)

    def dead_letters(self, request: str, path: str, children: list[Child], close: Close | None, at: At) -> list[Send]:
        """Failed leaves, with their cause and the record that they came from."""
        ends: list[Child | Close] = [end for end in (*children, close) if end is not None]
        return [
            self._keyed(
                topic_names.dead_letters_topic(self.pipeline),
                request,
                DeadLetter(end.cause or "", self._name, request, path, at.topic, at.partition, at.offset),
            )
            for end in ends
            if end.status is Status.FAILED
        ]

    def control(self, record: Wire) -> Send:
        """To every worker."""
        return Send(topic_names.control_topic(self.pipeline), Raw(encode(record)))

    def to_stage(self, stage: str, request: str, record: Wire) -> Send:
        """To the home of a request at another stage."""
        return self._keyed(topic_names.home_topic(self.pipeline, stage), request, record)

    @staticmethod
    def _keyed(topic: str, request: str, record: Wire) -> Send:
        return Send(topic, Raw(encode(record)), key=request)


def _ending(status: Status, cause: str | None) -> dict[str, Any]:
    return {} if status is Status.OK else {"status": status, "cause": cause}


_encode = msgspec.json.Encoder().encode
