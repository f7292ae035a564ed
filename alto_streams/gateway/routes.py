"""The HTTP API: routes over requests and pipelines, and health and metrics beside them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sse_starlette import EventSourceResponse

from alto_streams.gateway.events import event_stream, parse_last_event_id
from alto_streams.gateway.listing import MOST, page_of
from alto_streams.gateway.problems import Problem
from alto_streams.gateway.schema import accepts, answers
from alto_streams.gateway.service import Service
from alto_streams.gateway.states import STATES, events_url
from alto_streams.gateway.submission import parse_submission
from alto_streams.wire.records import EventKind

SEND_TIMEOUT_S = 60.0

router = APIRouter()


@router.post("/v1/requests", status_code=202, tags=["requests"], summary="Submit a request", **accepts())
async def submit(request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> Response:
    """Appended to the log, and acknowledged there, before the answer: what is answered with 202 will be worked on."""
    service = _service(request)
    payload = await _bounded_body(request, service.settings.max_body_bytes)
    now_ms = int(time.time() * 1000)
    asked = parse_submission(payload, idempotency_key, service.pipelines, service.settings, now_ms)
    made, is_repeat = await service.accept(asked)
    headers = {"Location": f"/v1/requests/{made}"} | ({"Idempotency-Replayed": "true"} if is_repeat else {})
    return _json({"id": made, "events": events_url(made)}, 202, headers)


@router.get("/v1/requests", tags=["requests"], summary="The latest requests", **answers("list"))
async def list_requests(
    request: Request,
    pipeline: Annotated[str | None, Query()] = None,
    state: Annotated[str | None, Query(description=f"one of {', '.join(STATES)}")] = None,
    before: Annotated[str | None, Query(description="the `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> Response:
    """Those that gateways have accepted, newest first, without results; what Redis has lost is not among them."""
    return _json(await page_of(_service(request), pipeline, state, before, limit))


@router.get("/v1/requests/{request_id}", tags=["requests"], summary="Status and result", **answers("state"))
async def look_up(request: Request, request_id: str) -> Response:
    """`accepted`, `running`, or how it ended: `ok`, `failed`, `cancelled`, `shed`; then with its result."""
    return _json(await _service(request).state(request_id))


@router.delete("/v1/requests/{request_id}", status_code=202, tags=["requests"], summary="Cancel", **answers("cancel"))
async def cancel(request: Request, request_id: str, pipeline: Annotated[str | None, Query()] = None) -> Response:
    """The `done` event tells how the request ended: a result may have been first. `pipeline`: if Redis was lost."""
    await _service(request).cancel(request_id, pipeline)
    return _json({"id": request_id, "status": "cancelling", "events": events_url(request_id)}, 202)


@router.delete(
    "/v1/requests/{request_id}/items/{stage}/{path:path}",
    status_code=202,
    tags=["requests"],
    summary="Cancel one item",
    **answers("cancel_item"),
)
async def cancel_item(
    request: Request, request_id: str, stage: str, path: str, pipeline: Annotated[str | None, Query()] = None
) -> Response:
    """Ends the item of `stage` at `path` (as its events name them), and all that derives from it; the rest goes on."""
    await _service(request).cancel(request_id, pipeline, stage, path)
    told = {"id": request_id, "stage": stage, "path": path, "status": "cancelling", "events": events_url(request_id)}
    return _json(told, 202)


@router.get("/v1/requests/{request_id}/events", tags=["requests"], summary="Server-sent events", **answers("events"))
async def events(
    request: Request,
    request_id: str,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    last_event_id: Annotated[str | None, Query()] = None,
) -> Response:
    """Every event once and in order, up to `done`; resumes after `Last-Event-ID` at any gateway. 204 after `done`."""
    service = _service(request)
    after = parse_last_event_id(header, last_event_id)
    known = await service.look_up(request_id)
    if known.last is not None and known.last.kind == EventKind.DONE and known.last.offset <= after:
        return Response(status_code=204)  # what tells a browser's EventSource to stop reconnecting
    if service.open_streams >= service.settings.max_streams:
        detail = f"{service.settings.max_streams} event streams are open here (ALTO_MAX_STREAMS)"
        raise Problem(503, "too-many-streams", detail, retry_after_s=2)
    return EventSourceResponse(
        event_stream(service, request_id, after, known),
        ping=service.settings.keepalive_s,
        send_timeout=SEND_TIMEOUT_S,  # a client that takes nothing for so long is gone
        sep="\n",
    )


@router.get("/v1/pipelines", tags=["pipelines"], summary="What is served", **answers("pipelines"))
async def pipelines(request: Request) -> Response:
    """Each pipeline with the JSON Schema of its requests, its stages, and the stage whose record is the result."""
    return _json({"pipelines": [info.state for _, info in sorted(_service(request).pipelines.items())]})


@router.get("/healthz", tags=["operations"], summary="Liveness, and which parts can be reached", **answers("health"))
async def healthz(request: Request) -> Response:
    """200 while the process lives; `status` is `degraded` when a part cannot be reached."""
    return _json(await _service(request).health())


@router.get("/metrics", tags=["operations"], summary="Prometheus metrics", **answers("metrics"))
async def metrics(request: Request) -> Response:
    """The text exposition format."""
    return Response(_service(request).metrics.page(), media_type=CONTENT_TYPE_LATEST)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _bounded_body(request: Request, most: int) -> bytes:
    """The body, never more of it than the bound.

    Raises:
        Problem: 413 or 415.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Also keeps other sites' pages from submitting through a visitor's browser: they may send forms, not JSON.
        detail = "send JSON with the header Content-Type: application/json"
        raise Problem(415, "unsupported-media-type", detail, field="Content-Type")
    too_large = Problem(413, "too-large", f"the body is larger than {most} bytes (ALTO_MAX_BODY_BYTES)")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > most:
        raise too_large
    payload = bytearray()
    async for part in request.stream():
        payload += part
        if len(payload) > most:
            raise too_large
    return bytes(payload)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
