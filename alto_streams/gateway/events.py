"""One client's event stream: from Redis, at the client's own pace, as server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
from sse_starlette import ServerSentEvent

from alto_streams.gateway.problems import Problem
from alto_streams.gateway.service import Service
from alto_streams.gateway.store import EVENTS_PER_READ, Store, Stored
from alto_streams.parts import Backoff, PartDown
from alto_streams.records import EventKind
from alto_streams.request_ids import created_ms

TRUNCATED = "truncated"
RETRY_MS = 500
MAX_OFFSET = 2**63 - 1


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


async def event_stream(service: Service, request: str, after: int) -> AsyncIterator[ServerSentEvent]:
    """The request's events after offset `after`, each once and in order, up to and including `done`.

    Nothing is read from Redis while the client has not taken what was read before. While Redis cannot be reached, a
    comment line says so. Ends without `done` when the request is past the horizon and has no events.
    """
    store, metrics, backoff = service.store, service.metrics, Backoff()
    service.open_streams += 1
    metrics.streams.set(service.open_streams)
    is_behind = True  # what was trimmed is only missed by a client that is behind
    try:
        yield ServerSentEvent(comment=f"events of {request}", retry=RETRY_MS, sep="\n")
        while True:
            try:
                if is_behind and (gap := await _gap(store, request, after)) is not None:
                    yield gap
                events = await store.read(request, after)
                if not events and await _is_past(store, request, service.settings.horizon_s):
                    return
                backoff.reset()
            except PartDown as down:
                wait = backoff.next_s()
                yield ServerSentEvent(comment=f"waiting: {down}; trying again in {wait:.1f} s", sep="\n")
                await asyncio.sleep(wait)
                continue
            for event in events:
                yield _framed(event)
                after = event.offset
                metrics.events.inc()
                if event.kind == EventKind.DONE:
                    return
            if not is_behind and events:
                metrics.event_age_s.observe(max(0.0, time.time() - _when.decode(events[-1].data).at_ms / 1000))
            is_behind = len(events) == EVENTS_PER_READ
    finally:
        service.open_streams -= 1
        metrics.streams.set(service.open_streams)


def _framed(event: Stored) -> ServerSentEvent:
    return ServerSentEvent(data=event.data, event=event.kind, id=str(event.offset), sep="\n")


async def _gap(store: Store, request: str, after: int) -> ServerSentEvent | None:
    """An event without an id that says what is missing, when the bounded stream no longer reaches back to `after`."""
    known = await store.known(request)
    if known is None or known.first is None or not known.is_trimmed or known.first <= after:
        return None
    detail = {"after": after, "next": known.first}
    return ServerSentEvent(data=msgspec.json.encode(detail).decode(), event=TRUNCATED, sep="\n")


async def _is_past(store: Store, request: str, horizon_s: float) -> bool:
    too_old = created_ms(request) < (time.time() - horizon_s) * 1000
    return too_old and await store.known(request) is None
