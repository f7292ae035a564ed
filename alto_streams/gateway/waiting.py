"""Which models' engines do not answer now, as their workers tell; asked of Redis at most once a second a gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sse_starlette import ServerSentEvent

from alto_streams.errors import PartDown
from alto_streams.gateway.store import Store
from alto_streams.wire.away import EngineAway, away_of
from alto_streams.wire.records import EventKind

EVERY_S = 1.0


class EnginesAway:
    """`models`: the names of all models that this gateway's pipelines use."""

    def __init__(self, store: Store, models: Sequence[str]) -> None:
        self._store, self._models = store, models
        self._known: dict[str, EngineAway] = {}
        self._asked_s = float("-inf")

    async def now(self) -> Mapping[str, EngineAway]:
        """Model -> what is told of its engine, of those that are away. Nothing while Redis is away."""
        if time.monotonic() - self._asked_s >= EVERY_S:
            self._asked_s = time.monotonic()  # set before: others that ask meanwhile take what is known
            now_ms = int(time.time() * 1000)
            try:
                told = await self._store.engines(self._models)
            except PartDown:
                told = {}
            found = {model: away_of(away, working, now_ms) for model, (away, working) in told.items()}
            self._known = {model: away for model, away in found.items() if away is not None}
        return self._known


class WaitingNotes:
    """What one client has been told of engines that its request waits for: each state once."""

    def __init__(self, engines: EnginesAway, models: Mapping[str, Sequence[str]]) -> None:
        self._engines, self._models = engines, models
        self._said: list[dict[str, Any]] = []

    async def next(self) -> ServerSentEvent | None:
        """The event to send now, if anything has changed. It has no id: it is no part of what can be resumed."""
        away = await self._engines.now()
        found = [
            {"model": model, "stages": list(stages), "cause": away[model].cause, "since_ms": away[model].since_ms}
            for model, stages in self._models.items()
            if model in away
        ]
        if found == self._said:
            return None
        self._said = found
        data = {"stage": "", "path": "", "number": 0, "at_ms": int(time.time() * 1000), "body": {"waits_for": found}}
        return ServerSentEvent(data=msgspec.json.encode(data).decode(), event=EventKind.WAITING, sep="\n")
