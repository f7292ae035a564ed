"""Reads the topic `plans` without a group: what the scheduler has planned for a model, and what it expects of it.

Whoever needs a plan can do without one: a broker that is away, or a scheduler that has never run, holds up nobody for
longer than `PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

from alto_streams.log.tail import LogReader, NewConsumer, consumers
from alto_streams.settings import Settings
from alto_streams.wire.plans import Forecast, Plan, PlanRecord
from alto_streams.wire.records import decoder
from alto_streams.wire.topic_names import plans_topic

log = logging.getLogger(__name__)

PATIENCE_S = 5.0

_decode: Callable[[bytes], PlanRecord] = decoder(PlanRecord)  # type: ignore[arg-type]


class PlanFeed:
    """The newest plan and forecast of each of some models; callbacks hear of each that is newer than those before.

    A plan is newer by its version, so one that two schedulers have made is followed once.
    """

    def __init__(
        self,
        new_consumer: NewConsumer,
        models: Collection[str],
        on_plan: Callable[[Plan], None],
        on_forecast: Callable[[Forecast], None] = lambda forecast: None,
    ) -> None:
        self._reader = LogReader(new_consumer, [plans_topic()], self._take)
        self._models, self._on_plan, self._on_forecast = models, on_plan, on_forecast
        self.plans: dict[str, Plan] = {}
        self.forecasts: dict[str, Forecast] = {}

    @classmethod
    def of(cls, settings: Settings, models: Collection[str], *callbacks: Any) -> PlanFeed:
        """The feed from the settings' broker. `callbacks`: `on_plan`, `on_forecast`."""
        return cls(consumers(settings), models, *callbacks)

    async def start(self) -> None:
        """Read the topic to its end, if that can be done soon, and go on reading in the background."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._reader.start()
        except TimeoutError:
            log.warning("%s has not been read within %.0f s: going on without a plan", plans_topic(), PATIENCE_S)

    async def read(self) -> None:
        """Read the topic to its end, however long that takes, and go on reading in the background."""
        await self._reader.start()

    async def stop(self) -> None:
        """Stop reading."""
        await self._reader.stop()

    def _take(self, record: Any) -> None:
        if record.value is None:
            return
        found = _decode(record.value)
        if found.model not in self._models:
            return
        match found:
            case Plan(model, version):
                known = self.plans.get(model)
                if known is None or version > known.version:
                    self.plans[model] = found
                    self._on_plan(found)
            case Forecast(model, at_ms):
                expected = self.forecasts.get(model)
                if expected is None or at_ms > expected.at_ms:
                    self.forecasts[model] = found
                    self._on_forecast(found)
