"""What the routes do, apart from HTTP: accept, look up, cancel."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alto_streams.errors import PartDown, Poison
from alto_streams.gateway.interfaces import PipelineInfo, RequestLog
from alto_streams.gateway.live import Live
from alto_streams.gateway.metrics import Metrics
from alto_streams.gateway.problems import Problem, unreachable
from alto_streams.gateway.states import RequestState, state_of
from alto_streams.gateway.store import KnownRequest, Store
from alto_streams.gateway.submission import Submission
from alto_streams.gateway.waiting import EnginesAway, WaitingNotes
from alto_streams.settings import Settings
from alto_streams.wire.paths import parse_path
from alto_streams.wire.records import EventKind, Request
from alto_streams.wire.request_ids import created_ms, new_request_id

log = logging.getLogger(__name__)

REMEMBERED = 10_000
AHEAD_MS = 60_000
REDIS_WAIT_S = 0.25


@dataclass
class Service:
    """One gateway process. `recent`: pipelines of requests accepted here, for when Redis has lost them; bounded."""

    settings: Settings
    pipelines: Mapping[str, PipelineInfo]
    log: RequestLog
    store: Store
    live: Live
    metrics: Metrics
    recent: OrderedDict[str, str] = field(default_factory=OrderedDict)
    open_streams: int = 0
    engines: EnginesAway = field(init=False)

    def __post_init__(self) -> None:
        self.engines = EnginesAway(self.store, sorted(self._models()))

    def _models(self) -> set[str]:
        return {model for info in self.pipelines.values() for model in info.models}

    def notes_for(self, pipeline: str | None) -> WaitingNotes:
        """What a client of a request of this pipeline is told of the engines that it waits for."""
        info = self.pipelines.get(pipeline or "")
        return WaitingNotes(self.engines, info.models if info is not None else {})

    async def accept(self, asked: Submission) -> tuple[str, bool]:
        """Appends the request; returns its id, and whether its idempotency key had been used before.

        A repeat whose first try may not have reached the log is appended again under the same id, which is one request.

        Raises:
            PartDown: the broker, or, for a request with an idempotency key, Redis.
            Problem: 409, the key stands for another body; 413, the broker takes no record of that size.
        """
        started = time.perf_counter()
        pipeline, key, fresh = asked.pipeline.name, asked.idempotency_key, new_request_id()
        request, is_sent = (fresh, False) if key is None else await self._claim(pipeline, key, fresh, asked.digest)
        if is_sent:
            self.metrics.repeated.labels(pipeline).inc()
            return request, True
        record = Request(request, pipeline, asked.input, asked.context, key)
        try:
            await self.log.send_request(record)
        except Poison as error:
            raise Problem(413, "too-large", str(error)) from None
        self._remember(request, pipeline)
        try:
            await self.store.register(pipeline, request, key, asked.digest)
        except PartDown as down:
            log.warning("request %s is accepted, but not registered: %s", request, down)
        self.metrics.accepted.labels(pipeline).inc()
        self.metrics.accept_s.observe(time.perf_counter() - started)
        return request, request != fresh

    async def look_up(self, request: str) -> KnownRequest:
        """What is known of a request.

        Raises:
            PartDown: Redis, and the request was not accepted here.
            Problem: 404, or 410 when it is older than the horizon.
        """
        made_ms = self.check_id(request)
        here = self.recent.get(request)
        try:
            known = await self.store.known(request)
        except PartDown:
            if here is None:
                raise
            known = None
        if known is not None:
            return known
        if here is not None:
            return KnownRequest(here, None, False, None)
        if made_ms < (time.time() - self.settings.horizon_s) * 1000:
            raise Problem(410, "gone", f"request {request}: {self._never()}")
        raise Problem(404, "unknown-request", f"request {request}: {self._never()}", field="id")

    async def state(self, request: str) -> RequestState:
        """Status and, once there, the result. Raises as `look_up`, and `PartDown` whenever Redis is away."""
        known = await self.look_up(request)
        if known.last is None and (down := await self.store.down()) is not None:
            raise down
        return state_of(request, known.pipeline, known.last)

    async def cancel(self, request: str, named: str | None, stage: str = "", path: str = "") -> str:
        """Ends a request; the first terminal record wins, so it may still end otherwise. Returns its pipeline.

        `stage`, `path`: end only this item, and all that derives from it. Doing it again changes nothing.
        `named`: the client's word for the pipeline, taken when Redis has lost it.

        Raises:
            PartDown: the broker.
            Problem: 404 (also for an item that no event has told of), 409 (it has ended), 410, 422 (no or a wrong
                pipeline, stage or path).
        """
        if named is not None and named not in self.pipelines:
            known_names = sorted(self.pipelines)
            raise Problem(422, "unknown-pipeline", "no pipeline of that name", field="pipeline", known=known_names)
        pipeline = await self._pipeline_of(request, named)
        info = self.pipelines.get(pipeline)
        if info is None:
            raise Problem(422, "unknown-pipeline", f"this gateway does not serve {pipeline}", field="pipeline")
        if stage:
            check_item(info, stage, path)
            await self._check_told(info, request, stage, path)
        await self.log.send_cancel(pipeline, info.root_stage, request, stage, path)
        self.metrics.cancelled.labels(pipeline).inc()
        return pipeline

    async def _check_told(self, info: PipelineInfo, request: str, stage: str, path: str) -> None:
        """Refuses an item that no event tells of; of a stage whose items are not told, one whose parent none does."""
        shown = info.shown_ancestor(stage, path)
        if shown is None:
            return
        try:
            async with asyncio.timeout(REDIS_WAIT_S):
                told = await self.store.has_told(request, *shown)
        except (PartDown, TimeoutError):
            return  # the home knows
        if told is False:
            of, at = shown
            below = "" if of == stage else f", so {stage} has none at {path}"
            detail = f"no such item: no event of request {request} tells of {of} {at}{below}"
            raise Problem(404, "no-such-item", detail, field="path")

    async def _pipeline_of(self, request: str, named: str | None) -> str:
        told = named or self.recent.get(request)
        try:
            # A Redis that hangs holds up no cancel whose pipeline is known without it.
            async with asyncio.timeout(None if told is None else REDIS_WAIT_S):
                known = await self.look_up(request)
        except (PartDown, TimeoutError):
            if told is None:
                detail = "Redis cannot be reached, so the pipeline of the request is unknown: add ?pipeline=NAME"
                raise Problem(503, "part-unreachable", detail, field="pipeline", retry_after_s=2) from None
            return told
        except Problem as problem:
            if named is None or problem.document.status != 404:
                raise
            return named  # Redis may have lost it; a cancel of a request that never was is dropped at its home
        if known.last is not None and known.last.kind == EventKind.DONE:
            raise Problem(409, "already-ended", f"request {request} has ended already")
        found = known.pipeline or named
        if found is None:
            detail = "Redis has lost the pipeline of the request: add ?pipeline=NAME"
            raise Problem(422, "missing-field", detail, field="pipeline", known=sorted(self.pipelines))
        if named is not None and named != found:
            raise Problem(422, "invalid-field", f"request {request} is one of {found}", field="pipeline")
        return found

    async def _claim(self, pipeline: str, key: str, request: str, digest: str) -> tuple[str, bool]:
        try:
            return await self.store.claim(pipeline, key, request, digest)
        except PartDown as down:
            problem = unreachable(down)
            problem.document.detail += "; without it an idempotency key cannot be honoured: try again, or send none"
            problem.document.field = "idempotency_key"
            raise problem from None

    def _never(self) -> str:
        kept_s = self.settings.horizon_s
        return f"never heard of, or forgotten after {kept_s:g} s (ALTO_HORIZON_S; GET /v1/requests lists what is known)"

    def check_id(self, request: str) -> int:
        """When a request of this id was made, in ms since the epoch. Raises `Problem` 404 if it is no id."""
        try:
            made_ms = created_ms(request)
        except Poison:
            made_ms = -1
        is_canonical = len(request) == 36 and request == request.lower()
        if not is_canonical or not 0 <= made_ms <= time.time() * 1000 + AHEAD_MS:
            raise Problem(404, "unknown-request", "this is no id of a request", field="id")
        return made_ms

    def _remember(self, request: str, pipeline: str) -> None:
        """In the order of acceptance, so those that are past the horizon are in front."""
        self.recent[request] = pipeline
        horizon_ms = (time.time() - self.settings.horizon_s) * 1000
        while self.recent and (len(self.recent) > REMEMBERED or created_ms(next(iter(self.recent))) < horizon_ms):
            self.recent.popitem(last=False)

    async def health(self) -> dict[str, Any]:
        """Which parts can be reached. The process itself is alive whenever this answers."""
        downs = {"broker": self.log.down(), "redis": await self.store.down()}
        addresses = {"broker": self.settings.broker, "redis": self.settings.redis}
        parts: dict[str, Any] = {}
        for part, down in downs.items():
            parts[part] = {"reachable": down is None, "address": addresses[part].rsplit("@", 1)[-1]}
            if down is not None:
                parts[part] |= {"detail": down.detail, "remedy": down.remedy}
        away = await self.engines.now()
        engines: dict[str, Any] = {model: {"reachable": model not in away} for model in sorted(self._models())}
        for model, told in away.items():
            engines[model] |= {"engine": told.engine, "detail": told.cause, "since_ms": told.since_ms}
        is_well = not away and not any(downs.values())
        return {"status": "ok" if is_well else "degraded", "parts": parts, "engines": engines}


def check_item(info: PipelineInfo, stage: str, path: str) -> None:
    """Whether a stage may have an item at this path.

    Raises:
        Problem: 422; names the field.
    """
    levels = info.levels.get(stage)
    if levels is None:
        known = sorted(info.levels)
        detail = f"{info.name} has no stage of that name whose items can be cancelled; known: {', '.join(known)}"
        raise Problem(422, "invalid-field", detail, field="stage", known=known)
    try:
        found = len(parse_path(path))
    except Poison as error:
        detail = f"{error}: expected the path of an event of this stage, such as {'/'.join('0' * levels)}"
        raise Problem(422, "invalid-field", detail, field="path") from None
    if found != levels:
        detail = f"an item of {stage} stands {levels} levels deep, such as {'/'.join('0' * levels)}; this has {found}"
        raise Problem(422, "invalid-field", detail, field="path")
