"""Reads dead letters apart from any consumer group, from the newest to the oldest."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition

from alto_streams.errors import ConfigError, NotInLog, Poison
from alto_streams.history.stretches import places, reading, records_of
from alto_streams.log.consumer import LogConsumer
from alto_streams.settings import Settings
from alto_streams.wire.records import DeadLetter, decoder
from alto_streams.wire.topic_names import dead_letters_topic

WINDOW = 500  # offsets read at once, from the end of a partition towards its beginning

_ID = re.compile(r"(?P<pipeline>[^:\s]+):(?P<partition>\d{1,9}):(?P<offset>\d{1,18})")
_decode = decoder(DeadLetter)


class LetterId(NamedTuple):
    """Where a letter stands, as `<pipeline>:<partition>:<offset>`."""

    pipeline: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.pipeline}:{self.partition}:{self.offset}"

    @classmethod
    def of(cls, text: str) -> LetterId:
        """Raises `ConfigError` if this is no letter's id."""
        form = _ID.fullmatch(text)
        if form is None:
            raise ConfigError(f"{text!r} is no letter's id: expected PIPELINE:PARTITION:OFFSET, e.g. factcheck:0:42")
        return cls(form["pipeline"], int(form["partition"]), int(form["offset"]))


class StoredLetter(NamedTuple):
    """A letter of the log. `at_ms`: when it was appended. One that cannot be read says so as its cause."""

    id: LetterId
    at_ms: int
    letter: DeadLetter
    record_bytes: int
    readable: bool = True


Wanted = Callable[[StoredLetter], bool]


async def newest(
    config: Settings, pipelines: Sequence[str], wanted: Wanted, limit: int, since_ms: int = 0
) -> list[StoredLetter]:
    """The newest `limit` letters that are `wanted` and not older than `since_ms`, newest first, without their records.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: a pipeline has no topic for its letters.
    """
    found: list[StoredLetter] = []
    async with reading(config, "dead letters were read") as consumer:
        for pipeline in pipelines:
            for place in await places(consumer, dead_letters_topic(pipeline)):
                found += await _from_end(consumer, pipeline, place, wanted, limit, since_ms)
    found.sort(key=lambda each: (each.at_ms, each.id.offset), reverse=True)
    return found[:limit]


async def fetched(config: Settings, ids: Sequence[LetterId]) -> list[StoredLetter]:
    """These letters, with their records.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: one of them is not there, or not any more.
    """
    async with reading(config, "dead letters were read") as consumer:
        return [await _one(consumer, each) for each in ids]


async def _from_end(
    consumer: LogConsumer, pipeline: str, place: TopicPartition, wanted: Wanted, limit: int, since_ms: int
) -> list[StoredLetter]:
    first = (await consumer.beginning_offsets([place]))[place]
    found: list[StoredLetter] = []
    stop, start = None, max(first, (await consumer.end_offsets([place]))[place] - WINDOW)
    while True:
        window = [each async for each in _window(consumer, pipeline, place, start, stop)]
        found = [each for each in window if each.at_ms >= since_ms and wanted(each)] + found
        past = bool(window) and max(each.at_ms for each in window) < since_ms
        if start <= first or len(found) >= limit or past:
            return found[-limit:]
        stop, start = start, max(first, start - WINDOW)


async def _window(
    consumer: LogConsumer, pipeline: str, place: TopicPartition, start: int, stop: int | None
) -> AsyncIterator[StoredLetter]:
    async for records in records_of(consumer, {place: start}):
        for raw in records:
            if stop is not None and raw.offset >= stop:
                return
            yield without_record(_stored(pipeline, raw))
        if stop is not None and await consumer.position(place) >= stop:
            return


async def _one(consumer: LogConsumer, wanted: LetterId) -> StoredLetter:
    topic = dead_letters_topic(wanted.pipeline)
    place = TopicPartition(topic, wanted.partition)
    if place not in await places(consumer, topic):
        raise NotInLog(f"{wanted}: topic {topic} has no partition {wanted.partition}")
    first = (await consumer.beginning_offsets([place]))[place]
    if wanted.offset >= first:
        async for records in records_of(consumer, {place: wanted.offset}):
            if records[0].offset != wanted.offset:
                break
            return _stored(wanted.pipeline, records[0])
    raise NotInLog(f"{wanted}: there is no such letter in {topic}, which keeps those from offset {first} on")


def without_record(stored: StoredLetter) -> StoredLetter:
    """The same letter, only with the size of its record."""
    return stored._replace(letter=msgspec.structs.replace(stored.letter, record=b""))


def _stored(pipeline: str, raw: Any) -> StoredLetter:
    letter_id = LetterId(pipeline, raw.partition, raw.offset)
    value = raw.value or b""
    try:
        letter = _decode(value)
    except Poison as error:
        unread = DeadLetter(f"this letter is unreadable: {error}", "", "", "", raw.topic, raw.partition, raw.offset)
        return StoredLetter(letter_id, raw.timestamp, unread, len(value), readable=False)
    return StoredLetter(letter_id, raw.timestamp, letter, len(letter.record))
