"""What a client is told of a request by the last event that is known of it. Pure."""

from __future__ import annotations

import msgspec

from alto_streams.gateway.store import StoredEvent
from alto_streams.wire.records import EventKind, Status
from alto_streams.wire.request_ids import created_ms

ACCEPTED, RUNNING = "accepted", "running"
STATES = (ACCEPTED, RUNNING, *(status.value for status in Status))


class _End(msgspec.Struct):
    status: str = "ok"
    cause: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    early: bool = False


class _Done(msgspec.Struct):
    at_ms: int
    body: _End


_done = msgspec.json.Decoder(_Done)


class RequestState(msgspec.Struct, omit_defaults=True):
    """`status`: `accepted` (nothing heard of it yet), `running`, or how it ended; then `result` is there.

    `early`: it ended before all of its calls had, because what was known by then was enough.
    """

    id: str
    pipeline: str | None
    status: str
    created_ms: int
    events: str
    last_event_id: str | None = None
    done_ms: int | None = None
    cause: str | None = None
    result: msgspec.Raw | None = None
    early: bool = False


def state_of(request: str, pipeline: str | None, last: StoredEvent | None) -> RequestState:
    """By its last event; None where there is none yet."""
    state = RequestState(request, pipeline, ACCEPTED, created_ms(request), events_url(request))
    if last is not None:
        state.status, state.last_event_id = RUNNING, str(last.offset)
        if last.kind == EventKind.DONE:
            done = _done.decode(last.data)
            state.status, state.cause, state.result = done.body.status, done.body.cause, done.body.result
            state.done_ms, state.early = done.at_ms, done.body.early
    return state


def events_url(request: str) -> str:
    """Where a request's events are."""
    return f"/v1/requests/{request}/events"
