"""The requests that gateways have accepted lately, newest first, page by page."""

from __future__ import annotations

from heapq import merge
from itertools import islice

import msgspec

from alto_streams.gateway.problems import Problem
from alto_streams.gateway.service import Service
from alto_streams.gateway.states import STATES, RequestState, state_of

MOST = 500
LOOKED_AT = 2_000  # requests for one page, where few of them have the state that is wanted


class Page(msgspec.Struct):
    """Requests by when they were made, newest first, without their results. `next`: the `before` of the page after."""

    requests: list[RequestState]
    next: str | None


async def page_of(service: Service, pipeline: str | None, state: str | None, before: str | None, limit: int) -> Page:
    """The requests of one page. One that is full of others than wanted may be short, and still have a `next`.

    Raises:
        Problem: 422, no such pipeline or state, or `before` is no id.
        PartDown: Redis.
    """
    _check(service, pipeline, state)
    if before is not None:
        service.check_id(before)
    names = [pipeline] if pipeline is not None else sorted(service.pipelines)
    found: list[RequestState] = []
    looked, most = 0, max(limit, min(LOOKED_AT, 100)) if state is None else LOOKED_AT
    while len(found) < limit and looked < most:
        wanted = limit - len(found) if state is None else 200
        ids = [[(each, name) for each in await service.store.recent(name, before, wanted)] for name in names]
        some = list(islice(merge(*ids, reverse=True), wanted))
        if not some:
            return Page(found, None)
        last = await service.store.last_events([request for request, _ in some])
        for (request, name), event in zip(some, last, strict=True):
            looked, before = looked + 1, request
            told = state_of(request, name, event)
            if state is None or told.status == state:
                told.result = None
                found.append(told)
                if len(found) == limit:
                    break
    return Page(found, before)


def _check(service: Service, pipeline: str | None, state: str | None) -> None:
    if pipeline is not None and pipeline not in service.pipelines:
        known = sorted(service.pipelines)
        raise Problem(422, "unknown-pipeline", "no pipeline of that name", field="pipeline", known=known)
    if state is not None and state not in STATES:
        raise Problem(422, "invalid-field", f"expected one of {', '.join(STATES)}", field="state", known=list(STATES))
