"""The scheduler: from what LM workers report to plans and forecasts, once a second.

Its statistics come from the reports of the last ten minutes and from nothing else, and `engines` keeps these. So it
stores nothing: whoever starts reads the topic, and a standby knows all that the active one knows. The consumer group
only says which of several is active. A plan counts once the broker has acknowledged it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

import msgspec

from alto_streams.agents.scheduler.load_records import now_ms
from alto_streams.agents.scheduler.plan_feed import PlanFeed
from alto_streams.errors import Fenced, Retryable
from alto_streams.log.tail import LogReader, consumers
from alto_streams.scheduler.downstream import Downstream
from alto_streams.scheduler.paces import PLAN_S
from alto_streams.scheduler.planner import Planner
from alto_streams.scheduler.statistics import Statistics
from alto_streams.settings import Settings
from alto_streams.wire.plans import EngineReport, Forecast, PlanRecord
from alto_streams.wire.records import decoder, encode
from alto_streams.wire.topic_names import engines_topic, forecast_key, plan_key, plans_topic
from alto_streams.worker.app import App
from alto_streams.worker.pump import Polled, Pump

log = logging.getLogger(__name__)

FORECAST_S = 5.0
LOST = 0.7  # of the session timeout, without a report: so the plan is there when the group finds out
SILENCE = 0.8  # of the time after which a worker is lost; nobody's report for so long: the way to us is lost, not they

_decode = decoder(EngineReport)


class PlanLog(Protocol):
    """Appends a record, and returns once the log has it."""

    async def send(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Any: ...


class Scheduler:
    """Statistics, and a planner for each model while this one is active.

    `partitions`: model -> prompt class -> how many partitions its work topic has. `feed` knows what was planned before.
    `lost_s`: the statistics'.
    """

    def __init__(
        self,
        partitions: Mapping[str, Mapping[str, int]],
        statistics: Statistics,
        feed: PlanFeed,
        log_: Callable[[], PlanLog],
        *,
        lost_s: float,
        warm_classes: int | None = None,
        clock: Callable[[], float] = monotonic,
        now_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._partitions, self._statistics, self._feed, self._log = partitions, statistics, feed, log_
        self._lost_s, self._warm_classes, self._clock, self._now_ms = lost_s, warm_classes, clock, now_ms
        self._planners: dict[str, Planner] = {}
        self._forecasts: dict[str, Forecast] = {}
        self._heard_s = self._unsure_until_s = float("-inf")
        self._told: dict[tuple[str, str], tuple[int, int]] = {}  # worker -> its last report: its own time, and ours
        self._reads_now = False
        self.is_active = False

    def take(self, record: Any) -> None:
        """A record of `engines`. Raises `Poison` if it is no report."""
        report = _decode(record.value or b"")
        worker, now_ms = (report.model, report.worker), self._now_ms()
        told_ms, ours_ms = self._told.get(worker, (-1, -1))
        if report.at_ms > told_ms:  # else it comes again
            # By our clock: by its own, a worker whose clock is apart would be lost now and then, or for ever.
            at_ms = now_ms if self._reads_now else min(report.at_ms, now_ms)
            self._told[worker] = report.at_ms, max(at_ms, ours_ms + 1)
            self._statistics.take(msgspec.structs.replace(report, at_ms=max(at_ms, ours_ms + 1)))
        now_s = self._clock()
        if now_s - self._heard_s > SILENCE * self._lost_s:
            self._unsure_until_s = now_s + self._lost_s  # by then everybody who is there has reported again
        self._heard_s = now_s

    async def run(self, is_active: Callable[[], bool]) -> None:
        """Plans once a second, as long as it is the one that does. `engines` has been read to its end by now."""
        self._reads_now = True
        while True:
            await asyncio.sleep(PLAN_S)
            self.is_active = is_active()
            if not self.is_active:
                self._planners.clear()
                continue
            try:
                await self.tick(self._now_ms())
            except (Fenced, Retryable) as error:  # the planner keeps what it could not tell, and the next tick tells it
                log.warning("the plan is not published yet: %s", error)

    async def tick(self, at_ms: int) -> None:
        """Publishes, for each model, a plan if there is a new one, and now and then what is expected.

        Raises:
            Fenced, Retryable: something may not have been published; the next tick does it again.
        """
        for model, partitions in self._partitions.items():
            forecast = self._statistics.forecast(model, at_ms)
            await self._plan(at_ms, forecast, partitions)
            await self._tell(forecast)

    async def _plan(self, at_ms: int, forecast: Forecast, partitions: Mapping[str, int]) -> None:
        model, known = forecast.model, self._feed.plans.get(forecast.model)
        planner = self._planners.setdefault(model, Planner(model, plan=known))
        if known is not None and (planner.plan is None or known.version >= planner.plan.version):
            planner.plan = known  # also another's of the same version: whoever reads has followed the first
        workers = self._statistics.workers(model, at_ms)
        if planner.plan is None or (planner.plan is known and self._is_sure):
            planner.tick(at_ms, forecast, workers, partitions, self._warm_classes)
        plan = planner.plan
        if plan is not None and plan is not known:
            await self._send(plan_key(model), plan)
            log.info("model %s: plan %d for %d workers: %s", model, plan.version, len(workers), plan.cause)

    @property
    def _is_sure(self) -> bool:
        """Whether a worker of which nothing was heard is the one that has gone."""
        now_s = self._clock()
        return now_s - self._heard_s <= SILENCE * self._lost_s and now_s >= self._unsure_until_s

    async def _tell(self, forecast: Forecast) -> None:
        told = self._forecasts.get(forecast.model)
        if told is not None and forecast.at_ms - told.at_ms < FORECAST_S * 1000:
            return
        if told is None or msgspec.structs.replace(told, at_ms=forecast.at_ms) != forecast:
            await self._send(forecast_key(forecast.model), forecast)
        self._forecasts[forecast.model] = forecast
        self._statistics.forget(forecast.model, forecast.at_ms)

    async def _send(self, key: str, record: PlanRecord) -> None:
        await self._log().send(plans_topic(), key.encode(), encode(record))


class SchedulerWork:
    """The scheduler of a worker of the group `alto.scheduler`: what it reads, and whether it is the active one."""

    def __init__(
        self, app: App, config: Settings, partitions: Mapping[str, Mapping[str, int]], course: Downstream
    ) -> None:
        lost_s = LOST * config.session_timeout_s
        self._app = app
        self.statistics = Statistics(lost_s=lost_s, course=course)
        self.feed = PlanFeed.of(config, partitions, lambda plan: None)
        self.scheduler = Scheduler(
            partitions,
            self.statistics,
            self.feed,
            lambda: app.sender,
            lost_s=lost_s,
            warm_classes=config.warm_classes,
        )
        self._reader = LogReader(consumers(config), [engines_topic()], self.scheduler.take)

    async def run(self) -> None:
        """What the app does with its partition of `engines`."""
        pump = Pump(self._read_elsewhere, self._app.consumer)
        try:
            # Without what was planned before, versions would begin anew: who follows a newer plan would hear of none.
            await self.feed.read()
            await self._reader.start()
            with self._app.consumer.feeding([engines_topic()], pump):
                await self.scheduler.run(self._is_active)
        finally:
            await pump.stop()
            await self._reader.stop()
            await self.feed.stop()

    async def _read_elsewhere(self, partition: int, polled: list[Polled]) -> None:
        """The group's own records only show that it goes on: statistics need those before them as well."""

    def _is_active(self) -> bool:
        owned = any(tp.topic == engines_topic() for tp in self._app.consumer.sources())
        return owned and not self._app.rebalancing and not self._app.fence.is_shut
