"""Every error that a client sees: a problem document (RFC 9457) that names the field or the part at fault."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from alto_streams.errors import PartDown
from alto_streams.gateway.metrics import Metrics

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """RFC 9457. `field`: the member of the request at fault, dotted; `part` and `address`: the server at fault.

    `known`: what would have been right, where that is a short list.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    known: list[str] | None = None
    part: str | None = None
    address: str | None = None


class Problem(Exception):
    """Ends the request with a problem document; `kind` is the last part of its `type` URI."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        known: list[str] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        title = kind.replace("-", " ").capitalize()
        self.document = ProblemDocument(f"urn:alto-streams:problem:{kind}", title, status, detail, field, known)
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


def unreachable(down: PartDown) -> Problem:
    """503 for a part that does not answer."""
    problem = Problem(503, "part-unreachable", str(down), retry_after_s=down.retry_after_s)
    problem.document.part, problem.document.address = down.part, down.address
    return problem


def install_problems(app: FastAPI, metrics: Metrics) -> None:
    """Answers every failure of the app with a problem document, and counts it."""

    def answer(problem: Problem) -> Response:
        metrics.problems.labels(problem.document.type.rpartition(":")[2]).inc()
        body = msgspec.json.encode(problem.document)
        return Response(body, problem.document.status, problem.headers, MEDIA_TYPE)

    async def on_problem(_: Request, error: Any) -> Response:
        return answer(error)

    async def on_part_down(_: Request, error: Any) -> Response:
        return answer(unreachable(error))

    async def on_http(request: Request, error: Any) -> Response:
        title = HTTPStatus(error.status_code).phrase
        kind = title.lower().replace(" ", "-")
        problem = Problem(error.status_code, kind, f"{request.method} {request.url.path}: {title}")
        problem.headers = dict(error.headers or {})
        return answer(problem)

    async def on_validation(_: Request, error: Any) -> Response:
        first = error.errors()[0]
        return answer(Problem(422, "invalid-request", first["msg"], field=".".join(str(part) for part in first["loc"])))

    async def on_bug(request: Request, error: Any) -> Response:
        log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
        return answer(Problem(500, "internal-error", "the gateway failed at this request; its log names the error"))

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(PartDown, on_part_down)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(Exception, on_bug)
