"""What a client has heard of one request so far, of any pipeline: text, items, times. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alto_streams.ancestry import is_under, parse_path
from alto_streams.client import ClientEvent
from alto_streams.records import EventKind, Status


@dataclass(slots=True)
class Item:
    """One item of a stage, or a leaf that failed. `at_s`: seconds since the submission."""

    stage: str
    path: str
    value: Any
    status: str
    cause: str | None
    at_s: float


@dataclass(slots=True)
class Span:
    """When a stage was first and last heard of, in seconds since the submission; `text_end_s`: its text has ended."""

    first_s: float
    last_s: float
    count: int = 0
    text_end_s: float | None = None


@dataclass(slots=True)
class Speech:
    """The text of one stream that the client watches."""

    text: str = ""
    ended: bool = False


@dataclass(slots=True)
class Transcript:
    """One request as its client has heard it. Feed it every event once, in order.

    `speeches`: (stage, path) -> its text; a pipeline may stream several at once.
    """

    speeches: dict[tuple[str, str], Speech] = field(default_factory=dict)
    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    accepted_s: float | None = None
    first_token_s: float | None = None
    text_end_s: float | None = None
    done_s: float | None = None
    status: str | None = None
    cause: str | None = None
    result: Any = None

    @property
    def text(self) -> str:
        """All text, stream after stream in the order of their paths."""
        ordered = sorted(self.speeches.items(), key=lambda speech: parse_path(speech[0][1]))
        return "\n\n".join(speech.text for _, speech in ordered)

    def hear(self, event: ClientEvent, at_s: float) -> None:
        """Takes in the next event, heard at `at_s` seconds after the submission."""
        body = event.body or {}
        match event.kind:
            case EventKind.ACCEPTED:
                self.accepted_s = at_s
            case EventKind.CHUNK:
                if self.first_token_s is None:
                    self.first_token_s = at_s
                self.speeches.setdefault((event.stage, event.path), Speech()).text += body["text"]
                self._mark(event.stage, at_s)
            case EventKind.ITEM:
                status, cause = body.get("status", Status.OK), body.get("cause")
                item = Item(event.stage, event.path, body.get("value"), status, cause, at_s)
                self.items[event.stage, event.path] = item
                self._mark(event.stage, at_s).count += 1
            case EventKind.CLOSE:
                self._close(event, body, at_s)
            case EventKind.RETRACTED:
                for key in [key for key in self.items if key[0] == event.stage and is_under(key[1], event.path)]:
                    del self.items[key]
            case EventKind.DONE:
                self.done_s, self.status = at_s, body["status"]
                self.cause, self.result = body.get("cause"), body.get("result")

    def of(self, stage: str) -> list[Item]:
        """The items and failed leaves of a stage, in the order of their paths."""
        return sorted((i for i in self.items.values() if i.stage == stage), key=lambda item: parse_path(item.path))

    def _close(self, event: ClientEvent, body: dict[str, Any], at_s: float) -> None:
        span = self._mark(event.stage, at_s)
        if (event.stage, event.path) in self.speeches:
            self.speeches[event.stage, event.path].ended = True
        if body.get("status", Status.OK) != Status.OK:
            # A call that failed whole: a leaf at the path of the call itself.
            item = Item(event.stage, event.path, None, body["status"], body.get("cause"), at_s)
            self.items[event.stage, event.path] = item
        if self.first_token_s is not None and span.count == 0:
            self.text_end_s = span.text_end_s = at_s

    def _mark(self, stage: str, at_s: float) -> Span:
        span = self.spans.setdefault(stage, Span(at_s, at_s))
        span.last_s = at_s
        return span
