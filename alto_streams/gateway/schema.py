"""The OpenAPI schema: what FastAPI infers from the routes, with the bodies and problems that msgspec describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from alto_streams.gateway.interfaces import PipelineInfo, PipelineState
from alto_streams.gateway.listing import Page
from alto_streams.gateway.problems import MEDIA_TYPE, ProblemDocument
from alto_streams.gateway.states import RequestState
from alto_streams.wire.records import EventKind, Mode

REF = "#/components/schemas/{name}"
PROBLEMS = {
    400: "The body is not JSON",
    404: "No such request",
    409: "The key stands for another request, or the request has ended",
    410: "Finished and forgotten",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    422: "A field is wrong; the problem names it",
    503: "A part cannot be reached; the problem names it. Retry-After says when to try again",
}
PROBLEMS_OF = {
    "submit": (400, 409, 413, 415, 422, 503),
    "list": (422, 503),
    "state": (404, 410, 503),
    "cancel": (404, 409, 410, 422, 503),
    "cancel_item": (404, 409, 410, 422, 503),
    "events": (404, 410, 422, 503),
    "pipelines": (),
    "health": (),
    "metrics": (),
}
LINK = {"id": {"type": "string", "format": "uuid"}, "events": {"type": "string"}}
CANCELLING = LINK | {"status": {"const": "cancelling"}}
ITEM = {"stage": {"type": "string"}, "path": {"type": "string"}}
PIPELINES = {"pipelines": {"type": "array", "items": {"$ref": REF.format(name="PipelineState")}}}
BODIES: dict[str, tuple[int, str, dict[str, Any]]] = {
    "submit": (202, "application/json", {"type": "object", "properties": LINK, "required": ["id", "events"]}),
    "list": (200, "application/json", {"$ref": REF.format(name="Page")}),
    "state": (200, "application/json", {"$ref": REF.format(name="RequestState")}),
    "cancel": (202, "application/json", {"type": "object", "properties": CANCELLING}),
    "cancel_item": (202, "application/json", {"type": "object", "properties": CANCELLING | ITEM}),
    "events": (200, "text/event-stream", {"type": "string", "description": f"event: {', '.join(EventKind)}"}),
    "pipelines": (200, "application/json", {"type": "object", "properties": PIPELINES, "required": ["pipelines"]}),
    "health": (200, "application/json", {"type": "object"}),
    "metrics": (200, "text/plain", {"type": "string"}),
}


def answers(route: str) -> dict[str, Any]:
    """The responses of one route, as arguments of its decorator."""
    status, media_type, schema = BODIES[route]
    responses: dict[int, Any] = {status: {"description": "OK", "content": {media_type: {"schema": schema}}}}
    problem = {MEDIA_TYPE: {"schema": {"$ref": REF.format(name="ProblemDocument")}}}
    for code in PROBLEMS_OF[route]:
        responses[code] = {"description": PROBLEMS[code], "content": problem}
    return {"responses": responses}


def accepts() -> dict[str, Any]:
    """The same for the route that takes a body."""
    content = {"application/json": {"schema": {"$ref": REF.format(name="Submission")}}}
    return answers("submit") | {"openapi_extra": {"requestBody": {"required": True, "content": content}}}


def install_schema(app: FastAPI, pipelines: Mapping[str, PipelineInfo]) -> None:
    """Serves the schema with one kind of submission per pipeline."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            schemas |= _components(pipelines)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend it


def _components(pipelines: Mapping[str, PipelineInfo]) -> dict[str, Any]:
    types = [ProblemDocument, RequestState, PipelineState, Page]
    _, schemas = msgspec.json.schema_components(types, ref_template=REF)
    kinds: list[dict[str, Any]] = []
    for name, info in sorted(pipelines.items()):
        # Two pipelines may call their request type the same: each goes in under its pipeline's name.
        (own,), parts = msgspec.json.schema_components([info.request_type], ref_template=f"{REF[:-6]}{name}.{{name}}")
        schemas |= {f"{name}.{part}": schema for part, schema in parts.items()}
        kinds.append(_submission(name, own))
    return schemas | {"Submission": {"oneOf": kinds}}


def _submission(pipeline: str, asked: dict[str, Any]) -> dict[str, Any]:
    deadline = {
        "description": "Seconds from now (a number), or an RFC 3339 time with its offset; else 0.9 of the horizon",
        "oneOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "format": "date-time"}],
    }
    return {
        "type": "object",
        "title": pipeline,
        "required": ["pipeline", "input"],
        "additionalProperties": False,
        "properties": {
            "pipeline": {"const": pipeline},
            "input": asked,
            "deadline": deadline,
            "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 255},
            "mode": {"enum": [str(mode) for mode in Mode], "default": str(Mode.STREAM)},
        },
    }
