"""Reads what the scheduler knows and has planned: its topics, apart from any group, and the live loads from Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from alto_streams.agents.scheduler.agent import LOST
from alto_streams.agents.scheduler.load_records import load_client, now_ms, read_load
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import Poison
from alto_streams.history.stretches import places, reading, records_of, starts_since
from alto_streams.log.consumer import LogConsumer
from alto_streams.parts import redacted
from alto_streams.scheduler.downstream import downstream
from alto_streams.scheduler.statistics import Statistics
from alto_streams.settings import Settings
from alto_streams.wire.plans import EngineReport, Forecast, Load, Plan, PlanRecord
from alto_streams.wire.records import decoder
from alto_streams.wire.redis_keys import load_key
from alto_streams.wire.topic_names import engines_topic, plans_topic

KEPT_S = 600.0  # of reports; the topic keeps no more for sure

_read_record: Callable[[bytes], PlanRecord] = decoder(PlanRecord)  # type: ignore[arg-type]
_read_report = decoder(EngineReport)


@dataclass(slots=True)
class SchedulerState:
    """What is known at `at_ms`, by model. `loads`: none of a model whose workers told nothing.

    `without_loads`: why Redis could not be asked, if it could not.
    """

    at_ms: int
    models: list[str]
    statistics: Statistics
    plans: dict[str, Plan] = field(default_factory=dict)
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    loads: dict[str, dict[str, Load]] = field(default_factory=dict)
    without_loads: str = ""


async def known(config: Settings, pipelines: Sequence[Pipeline], models: Sequence[str]) -> SchedulerState:
    """What the scheduler knows of these models, from the same records that it has.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: a topic does not exist.
    """
    course = downstream(*pipelines)
    statistics = Statistics(lost_s=LOST * config.session_timeout_s, course=course)
    found = SchedulerState(now_ms(), list(models), statistics)
    async with reading(config, "plans were read") as consumer:
        await _each(consumer, plans_topic(), lambda value: _plan(found, value), since_ms=None)
        since_ms = int((time.time() - KEPT_S) * 1000)
        await _each(consumer, engines_topic(), lambda value: statistics.take(_read_report(value)), since_ms)
    found.at_ms = now_ms()
    await _loads(config, found)
    return found


async def _each(consumer: LogConsumer, topic: str, take: Callable[[bytes], None], since_ms: int | None) -> None:
    partitions = await places(consumer, topic)
    if since_ms is None:
        starts = await consumer.beginning_offsets(partitions)
    else:
        starts = await starts_since(consumer, partitions, since_ms)
    async with aclosing(records_of(consumer, starts)) as batches:
        async for records in batches:
            for raw in records:
                if raw.timestamp < (since_ms or 0):  # see `starts_since`
                    continue
                try:
                    take(raw.value or b"")
                except Poison:  # those who need it say so in their logs
                    continue


def _plan(found: SchedulerState, value: bytes) -> None:
    record = _read_record(value)
    if isinstance(record, Forecast):
        found.forecasts[record.model] = record
    elif (last := found.plans.get(record.model)) is None or record.version > last.version:
        found.plans[record.model] = record  # of two of one version the first, as everybody follows it


async def _loads(config: Settings, found: SchedulerState) -> None:
    redis = load_client(config)
    try:
        for model in found.models:
            told = [read_load(value) for value in await redis.hvals(load_key(model))]
            found.loads[model] = {load.worker: load for load in told if load is not None}
    except (RedisError, OSError) as error:
        found.loads.clear()
        found.without_loads = f"redis at {redacted(config.redis)}: {type(error).__name__}"
    finally:
        await redis.aclose()
