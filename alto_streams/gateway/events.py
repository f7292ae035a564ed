"""One client's event stream: from Redis, at the client's own pace, as server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
from sse_starlette import ServerSentEvent

from alto_streams.errors import PartDown
from alto_streams.gateway.problems import Problem
from alto_streams.gateway.service import Service
from alto_streams.gateway.store import KnownRequest, Store, StoredEvent
from alto_streams.gateway.tail import Tail
from alto_streams.parts import Backoff
from alto_streams.wire.records import EventKind
from alto_streams.wire.request_ids import created_ms

TRUNCATED = "truncated"
RETRY_MS = 500
MAX_OFFSET = 2**63 - 1
PIECE_CHARS = 8_192


class _When(msgspec.Struct):
    at_ms: int


_when = msgspec.json.Decoder(_When)


def parse_last_event_id(header: str | None, query: str | None) -> int:
    """The offset after which the client wants to hear; -1 for all. The header wins: a browser sends it on reconnecting.

    Raises:
        Problem: 422, it is no id that this API gave out.
    """
    field, given = ("Last-Event-ID", header) if header else ("last_event_id", query)
    if not given:
        return -1
    if not (given.isascii() and given.isdigit()) or int(given[:20]) > MAX_OFFSET or len(given) > 19:
        raise Problem(422, "invalid-field", "must be the id of an event of this request, a number", field=field)
    return int(given)


async def event_stream(
    service: Service, request: str, after: int, known: KnownRequest | None = None
) -> AsyncIterator[ServerSentEvent | bytes]:
    """The request's events after offset `after`, each once and in order, up to and including `done`.

    What the client has not taken yet waits in Redis. While Redis cannot be reached, a comment line says so; of engines
    that do not answer an event `waiting` without an id tells, once and whenever that changes. Ends
    without `done` when the request is past the horizon and has no events. `known`: of a moment ago.
    """
    store, metrics, backoff = service.store, service.metrics, Backoff()
    notes = service.notes_for(service.recent.get(request) or (known.pipeline if known is not None else None))
    service.open_streams += 1
    metrics.streams.set(service.open_streams)
    try:
        yield ServerSentEvent(comment=f"events of {request}", retry=RETRY_MS, sep="\n")
        with Tail(store, service.live, request) as tail:
            while True:
                try:
                    # What was trimmed is only missed by a client that is behind.
                    is_behind = tail.is_behind
                    if is_behind and (gap := _gap(known or await store.known(request), after)) is not None:
                        yield gap
                    known = None
                    events = await tail.next(after)
                    if not events and await _is_past(store, request, service.settings.horizon_s):
                        return
                    backoff.reset()
                except PartDown as down:
                    wait = backoff.next_s()
                    yield ServerSentEvent(comment=f"waiting: {down}; trying again in {wait:.1f} s", sep="\n")
                    await asyncio.sleep(wait)
                    continue
                for frames, count in _framed(events):
                    yield frames
                    metrics.events.inc(count)
                if events:
                    after = events[-1].offset
                    if events[-1].kind == EventKind.DONE:
                        return
                    if not is_behind:
                        metrics.event_age_s.observe(max(0.0, time.time() - _when.decode(events[-1].data).at_ms / 1000))
                if (note := await notes.next()) is not None:
                    yield note
    finally:
        service.open_streams -= 1
        metrics.streams.set(service.open_streams)


def _framed(events: list[StoredEvent]) -> Iterator[tuple[bytes, int]]:
    """The frames of several small events in one piece, and how many: each piece costs a system call."""
    frames, chars = list[str](), 0
    for event in events:
        # A line break in JSON can only stand between tokens.
        data = event.data.replace("\r", " ").replace("\n", " ")
        frames.append(f"id: {event.offset}\nevent: {event.kind}\ndata: {data}\n\n")
        chars += len(data)
        if chars > PIECE_CHARS:
            yield "".join(frames).encode(), len(frames)
            frames, chars = [], 0
    if frames:
        yield "".join(frames).encode(), len(frames)


def _gap(known: KnownRequest | None, after: int) -> ServerSentEvent | None:
    """An event without an id that says what is missing, when the bounded stream no longer reaches back to `after`."""
    if known is None or known.first is None or not known.is_trimmed or known.first <= after:
        return None
    detail = {"after": after, "next": known.first}
    return ServerSentEvent(data=msgspec.json.encode(detail).decode(), event=TRUNCATED, sep="\n")


async def _is_past(store: Store, request: str, horizon_s: float) -> bool:
    too_old = created_ms(request) < (time.time() - horizon_s) * 1000
    return too_old and await store.known(request) is None
