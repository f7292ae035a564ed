"""Reads what became of one request from the log alone: its records at every home, and the dead letters about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing, redirect_stdout
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import NotInLog
from alto_streams.history.dispatches import is_past, unknown_request
from alto_streams.history.letters import StoredLetter, newest
from alto_streams.history.requests import outcomes, request_of
from alto_streams.history.retelling import Step, retell
from alto_streams.history.stretches import CLOCKS_APART_MS, places, reading, records_of, starts_since
from alto_streams.log.consumer import LogConsumer
from alto_streams.log.topics_file import TopicsFile
from alto_streams.recordings.format import Became, Recorded
from alto_streams.settings import Settings
from alto_streams.tables.calls import Limits
from alto_streams.tables.turns import At
from alto_streams.wire.records import Raw
from alto_streams.wire.request_ids import created_ms
from alto_streams.wire.topic_names import home_topic

LETTERS_MOST = 1_000

Records = dict[str, list[tuple[At, bytes]]]
"""By stage: the records of one request at its home, in the order of the log."""


@dataclass(slots=True)
class Story:
    """A request and all that was decided about it. `became`: as its client was told; None while it is under way.

    `steps`: in the order of time, those of a stage in the order of the log. `letters`: about it, newest first.
    `may_lack`: home topics that keep records for a shorter time than has passed since.
    """

    request: str
    pipeline: Pipeline
    made_ms: int
    became: Became | None = None
    steps: list[Step] = field(default_factory=list)
    letters: list[StoredLetter] = field(default_factory=list)
    may_lack: list[str] = field(default_factory=list)


async def story_of(config: Settings, pipelines: Sequence[Pipeline], request: str, topics: TopicsFile) -> Story:
    """What became of this request. `topics`: those of the pipelines, with their retention.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: there is no such request, or not any more, or a topic does not exist.
        Poison: this is no request's id.
    """
    made_ms, horizon_ms = created_ms(request), int(config.horizon_s * 1000)
    async with reading(config, "the request was looked up") as consumer:
        for pipeline in pipelines:
            if await request_of(consumer, pipeline.name, request, horizon_ms) is not None:
                break
        else:
            raise NotInLog(unknown_request(request, [each.name for each in pipelines], topics, made_ms))
    story = Story(request, pipeline, made_ms)
    recorded = Recorded(request, made_ms, pipeline.name, Raw(b"null"))
    story.became = (await outcomes(config, pipeline.name, [recorded])).get(request)
    done_ms = horizon_ms if story.became is None else int(1000 * story.became.done_s)
    async with reading(config, "the records of its homes were read") as consumer:
        records = await home_records(consumer, pipeline, request, made_ms, made_ms + done_ms + CLOCKS_APART_MS)
    limits = Limits(config.max_attempts, int(config.silence_s * 1000))
    with redirect_stdout(sys.stderr):  # what the pipeline's functions print is not of the story
        for stage, found in records.items():
            story.steps += retell(pipeline, stage, limits, horizon_ms, request, found)
    story.steps = in_order(story.steps)
    homes = (home_topic(pipeline.name, stage) for stage in pipeline.stages)
    story.may_lack = [topic for topic in homes if is_past(topics, topic, made_ms)]
    since_ms = made_ms - CLOCKS_APART_MS
    story.letters = await newest(
        config, [pipeline.name], lambda each: each.letter.request == request, LETTERS_MOST, since_ms
    )
    return story


def in_order(steps: Sequence[Step]) -> list[Step]:
    """By time; those of one stage stay in the order of the log, whatever a broker's clock said."""
    latest: dict[str, int] = {}
    timed = []
    for step in steps:
        latest[step.stage] = at_ms = max(step.at.at_ms, latest.get(step.stage, 0))
        timed.append((at_ms, step))
    return [step for _, step in sorted(timed, key=lambda each: each[0])]


async def home_records(consumer: LogConsumer, pipeline: Pipeline, request: str, made_ms: int, end_ms: int) -> Records:
    """The records of a request at each stage's home, of those that were appended by `end_ms`."""
    stage_of = {await _home(consumer, pipeline.name, stage, request): stage for stage in pipeline.stages}
    found: Records = {stage: [] for stage in pipeline.stages}
    starts = await starts_since(consumer, list(stage_of), made_ms - CLOCKS_APART_MS)
    key = request.encode()
    async with aclosing(records_of(consumer, starts)) as batches:
        async for records in batches:
            place = TopicPartition(records[0].topic, records[0].partition)
            for raw in records:
                if raw.key == key:
                    at = At(place.topic, place.partition, raw.offset, raw.timestamp)
                    found[stage_of[place]].append((at, raw.value or b""))
            if records[-1].timestamp > end_ms:
                consumer.pause(place)
    return found


async def _home(consumer: LogConsumer, pipeline: str, stage: str, request: str) -> TopicPartition:
    """The partition that decides about the request: the one that its id hashes to, as for every producer here."""
    partitions = [place.partition for place in await places(consumer, home_topic(pipeline, stage))]
    chosen: int = DefaultPartitioner()(request.encode(), partitions, partitions)
    return TopicPartition(home_topic(pipeline, stage), chosen)
