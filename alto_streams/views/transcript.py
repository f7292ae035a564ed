"""What a client has heard of one request so far, of any pipeline: text, items, times. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alto_streams.views.withdrawals import Unshown
from alto_streams.wire.client_event import ClientEvent
from alto_streams.wire.paths import parse_path
from alto_streams.wire.records import EventKind, Status

TAKEN_BACK = (Status.CANCELLED, Status.SHED)


@dataclass(slots=True)
class Item:
    """One item of a stage, or a leaf that failed; one that was cancelled keeps its value. `at_s`: since submission.

    `line`: status and text as it was last shown, for who shows it again with every event.
    """

    stage: str
    path: str
    value: Any
    status: str
    cause: str | None
    at_s: float
    line: tuple[str, str] | None = None


@dataclass(slots=True)
class Span:
    """When a stage was first and last heard of, in seconds since the submission; `text_end_s`: its text has ended."""

    first_s: float
    last_s: float
    text_end_s: float | None = None


@dataclass(slots=True)
class Speech:
    """The text of one stream that the client watches. `beginnings`: how often it was withdrawn and begun again."""

    text: str = ""
    ended: bool = False
    beginnings: int = 0


@dataclass(slots=True)
class Transcript:
    """One request as its client has heard it. Feed it every event once, in order.

    `request`: its id, once it is submitted. `raised`: (stage, path, what its function raised), of the author's own.

    `speeches`: (stage, path) -> its text; a pipeline may stream several at once. `early`: the request ended before all
    of its calls had, because what was known by then was enough. What has been taken back is not in it.
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
    early: bool = False
    withdrawals: Unshown = field(default_factory=Unshown)
    request: str | None = None
    raised: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text, stream after stream in the order of their paths."""
        ordered = sorted(self.speeches.items(), key=lambda speech: _place(speech[0][1]))
        return "\n\n".join(speech.text for _, speech in ordered)

    def hear(self, event: ClientEvent, at_s: float) -> None:
        """Takes in the next event, heard at `at_s` seconds after the submission."""
        body = event.body or {}
        if event.kind is not EventKind.RETRACTED and self.withdrawals.is_dead(event.stage, event.path):
            return
        if "raised" in body:
            self.raised.append((event.stage, event.path, body["raised"]))
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
                self._item(Item(event.stage, event.path, body.get("value"), status, cause, at_s))
                self._mark(event.stage, at_s)
            case EventKind.CLOSE:
                self._close(event, body, at_s)
            case EventKind.RETRACTED:
                self._retract(event, body)
            case EventKind.DONE:
                self.done_s, self.status = at_s, body["status"]
                self.cause, self.result = body.get("cause"), body.get("result")
                self.early = bool(body.get("early", False))

    def of(self, stage: str) -> list[Item]:
        """The items and failed leaves of a stage, by their paths; of the cancelled ones, those that were heard."""
        found = [i for i in self.items.values() if i.stage == stage]
        heard = [i for i in found if i.value is not None or i.status not in TAKEN_BACK]
        return sorted(heard, key=lambda item: _place(item.path))

    def _item(self, item: Item) -> None:
        cancelled = self.items.get((item.stage, item.path))
        if cancelled is not None and cancelled.status in TAKEN_BACK:  # the close was first
            item.status, item.cause = cancelled.status, cancelled.cause
        self.items[item.stage, item.path] = item

    def _close(self, event: ClientEvent, body: dict[str, Any], at_s: float) -> None:
        status, cause = body.get("status", Status.OK), body.get("cause")
        span = self._mark(event.stage, at_s)
        speech = self.speeches.get((event.stage, event.path))
        if speech is not None:
            speech.ended = True
            self.text_end_s = span.text_end_s = at_s
        if status in TAKEN_BACK:
            # A cancelled item stays visible as such; what was below it does not.
            self._forget_dead(self.withdrawals.cancel(event.path, body).takes)
        if status != Status.OK:
            known = self.items.get((event.stage, event.path))
            # Without an item it is a call that failed whole: a leaf at the path of the call itself.
            value = known.value if known is not None else None
            self.items[event.stage, event.path] = Item(event.stage, event.path, value, status, cause, at_s)

    def _retract(self, event: ClientEvent, body: dict[str, Any]) -> None:
        self._forget_dead(self.withdrawals.retract(event.stage, event.path, body).takes)
        own = self.speeches.get((event.stage, event.path))
        if own is not None:
            own.text, own.ended, own.beginnings = "", False, own.beginnings + 1
            self.text_end_s = None

    def _forget_dead(self, is_dead: Callable[[str, str], bool]) -> None:
        for item in [key for key in self.items if is_dead(*key)]:
            del self.items[item]
        for speech in [key for key in self.speeches if is_dead(*key)]:
            del self.speeches[speech]

    def _mark(self, stage: str, at_s: float) -> Span:
        span = self.spans.setdefault(stage, Span(at_s, at_s))
        span.last_s = at_s
        return span


def _place(path: str) -> list[tuple[int, int]]:
    """Sorts paths as their items stand in the request, whichever of them was written anew."""
    return [(level.nth, level.epoch) for level in parse_path(path)]
