"""Reads where the calls of one request went, and why, from the receipts on its work items; apart from any group."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import TopicPartition

from alto_streams.errors import NotInLog, Poison
from alto_streams.history.requests import outcomes, request_of
from alto_streams.history.stretches import CLOCKS_APART_MS, places, reading, records_of, starts_since
from alto_streams.log.consumer import LogConsumer
from alto_streams.log.topics_file import TopicsFile
from alto_streams.recordings.format import Became, Recorded
from alto_streams.settings import Settings
from alto_streams.wire.plans import Receipt
from alto_streams.wire.records import Raw, Work, decoder
from alto_streams.wire.request_ids import created_ms
from alto_streams.wire.topic_names import prompt_class, requests_topic, work_topic

_read_work = decoder(Work)


class Dispatched(NamedTuple):
    """One attempt of a call, as it was dispatched: nothing of what it says. `at_ms`: since the epoch."""

    at_ms: int
    stage: str
    path: str
    attempt: int
    model: str
    partition: int
    offset: int
    receipt: Receipt | None


@dataclass(slots=True)
class Course:
    """A request, and its dispatches in the order of time. `became`: None while it is under way.

    `may_lack`: work topics that keep records for a shorter time than has passed since. `unreadable`: places of work
    items that nothing can read, whosever they are.
    """

    request: str
    pipeline: str
    made_ms: int
    deadline_ms: int | None = None
    became: Became | None = None
    dispatches: list[Dispatched] = field(default_factory=list)
    may_lack: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


async def course_of(
    config: Settings, models: Mapping[str, Mapping[str, Sequence[str]]], request: str, topics: TopicsFile
) -> Course:
    """Where the calls of this request went. `models`: pipeline -> model -> the stages that call it.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: there is no such request, or not any more, or a topic does not exist.
        Poison: this is no request's id.
    """
    made_ms, horizon_ms = created_ms(request), int(config.horizon_s * 1000)
    async with reading(config, "the request was looked up") as consumer:
        for pipeline in models:
            found = await request_of(consumer, pipeline, request, horizon_ms)
            if found is not None:
                break
        else:
            raise NotInLog(unknown_request(request, list(models), topics, made_ms))
    course = Course(request, pipeline, made_ms, found.context.deadline_ms)
    recorded = Recorded(request, made_ms, pipeline, Raw(b"null"))
    course.became = (await outcomes(config, pipeline, [recorded])).get(request)
    # What is dispatched after the end, or after the horizon, is nobody's any more.
    end_ms = made_ms + (horizon_ms if course.became is None else int(1000 * course.became.done_s)) + CLOCKS_APART_MS
    stages = [stage for callers in models[pipeline].values() for stage in callers]
    course.may_lack = [each for each in (work_topic(pipeline, s) for s in stages) if is_past(topics, each, made_ms)]
    async with reading(config, "work items were read") as consumer:
        await _read(consumer, course, stages, end_ms)
    course.dispatches.sort(key=lambda each: (each.at_ms, each.stage, each.path, each.attempt, each.offset))
    return course


async def _read(consumer: LogConsumer, course: Course, stages: Sequence[str], end_ms: int) -> None:
    partitions = [place for stage in stages for place in await places(consumer, work_topic(course.pipeline, stage))]
    starts = await starts_since(consumer, partitions, course.made_ms - CLOCKS_APART_MS)
    wanted = course.request.encode()
    async with aclosing(records_of(consumer, starts)) as batches:
        async for records in batches:
            for raw in records:
                if wanted not in (raw.value or b""):  # most are of other requests
                    continue
                try:
                    work = _read_work(raw.value)
                except Poison:
                    course.unreadable.append(f"{raw.topic}-{raw.partition}@{raw.offset}")
                    continue
                if work.request == course.request:
                    course.dispatches.append(_dispatched(raw.timestamp, raw.partition, raw.offset, work))
            if records[-1].timestamp > end_ms:
                consumer.pause(TopicPartition(records[-1].topic, records[-1].partition))


def _dispatched(at_ms: int, partition: int, offset: int, work: Work) -> Dispatched:
    return Dispatched(at_ms, work.stage, work.path, work.attempt, work.model, partition, offset, work.receipt)


def unknown_request(request: str, pipelines: Sequence[str], topics: TopicsFile, made_ms: int) -> str:
    """Why a request is not there, as far as its id tells."""
    kept = [requests_topic(pipeline) for pipeline in pipelines]
    where = ", ".join(kept)
    if all(is_past(topics, topic, made_ms) for topic in kept):
        days = (time.time() - made_ms / 1000) / 86_400
        return f"request {request} is not in {where} any more: it is {days:.1f} days old, and past what is kept there"
    return f"there is no request {request} in {where}; an id is what the gateway answered a submission with"


def is_past(topics: TopicsFile, topic: str, made_ms: int) -> bool:
    """Whether the topic may have dropped what is so old."""
    kept_ms = topics.spec(topic).retention_ms
    return kept_ms is not None and time.time() * 1000 - made_ms > kept_ms


def class_of(course: Course, dispatched: Dispatched) -> str:
    """The prompt class of a dispatch."""
    return prompt_class(course.pipeline, dispatched.stage)
