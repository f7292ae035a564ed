"""Reads requests of the log, and how they ended, apart from any consumer group: what a recording is made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import TopicPartition

from alto_streams.errors import NotInLog, Poison
from alto_streams.history.stretches import CLOCKS_APART_MS, places, reading, records_of, starts_since
from alto_streams.log.consumer import LogConsumer
from alto_streams.recordings.format import MOST_BYTES, Became, Recorded, hash_of, one_line, ordered
from alto_streams.settings import Settings
from alto_streams.wire.records import Event, EventKind, Raw, Request, Status, decoder
from alto_streams.wire.request_ids import created_ms
from alto_streams.wire.topic_names import requests_topic, results_topic

DONE_SIGN = b'"done"'

_read_request, _read_event = decoder(Request), decoder(Event)


@dataclass(frozen=True, slots=True)
class Bound:
    """Where to begin or end: a time in ms since the epoch, or offsets; a partition that has none is not bounded."""

    at_ms: int | None = None
    offset: int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)

    def offset_of(self, partition: int) -> int | None:
        """Of one partition."""
        return self.offsets.get(partition, self.offset)


@dataclass(slots=True)
class Found:
    """Requests by arrival. `places`: partition and offset of each id.

    `offsets`: of each partition, the first that was found and the one after the last. `unreadable`: places of records
    that nothing can read. `repeated`: requests that came again. `gone`: places from which on records were wanted, and
    from which on there are some.
    """

    requests: list[Recorded] = field(default_factory=list)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    repeated: int = 0
    gone: dict[str, int] = field(default_factory=dict)


async def requests_of(config: Settings, pipeline: str, start: Bound, stop: Bound, most: int | None) -> Found:
    """The requests from `start` to before `stop`, but the first `most` of them only.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: the pipeline has no topic for its requests, or they are more than memory should hold.
    """
    topic, found = requests_topic(pipeline), Found()
    async with reading(config, "requests were read") as consumer:
        partitions = await places(consumer, topic)
        starts = await _starts(consumer, partitions, start, found)
        seen: dict[TopicPartition, int] = {}
        size = 0
        async with aclosing(_within(consumer, starts, start, stop)) as records:
            async for place, raw in records:
                size += len(raw.value or b"")
                if size > MOST_BYTES:
                    gib = MOST_BYTES >> 30
                    raise NotInLog(f"{topic}: over {gib} GiB of requests; record less of them at once")
                _add(found, raw)
                seen[place] = seen.get(place, 0) + 1
                if most is not None and seen[place] >= most:  # of one partition no more can be needed
                    consumer.pause(place)
    _cut(found, most)
    return found


async def outcomes(config: Settings, pipeline: str, requests: list[Recorded]) -> dict[str, Became]:
    """How these requests have ended, of those that have. Reads `results` from the first arrival on.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: the pipeline has no topic for its results, or they are more than memory should hold.
    """
    arrived = {each.id: each.at_ms for each in requests}
    found: dict[str, Became] = {}
    since, topic, size = min(arrived.values()) - CLOCKS_APART_MS, results_topic(pipeline), 0
    async with reading(config, "results were read") as consumer:
        partitions = await places(consumer, topic)
        starts = await starts_since(consumer, partitions, since)
        async with aclosing(records_of(consumer, starts)) as batches:
            async for records in batches:
                for raw in records:
                    event = _done(raw.value)
                    if event is not None and event.request in arrived and event.request not in found:
                        became = found[event.request] = _became(event, arrived[event.request])
                        size += len(became.kept)
                        if size > MOST_BYTES:
                            gib = MOST_BYTES >> 30
                            raise NotInLog(f"{topic}: over {gib} GiB of results; record less of them at once")
                if len(found) == len(arrived):
                    break
    return found


async def request_of(consumer: LogConsumer, pipeline: str, wanted: str, horizon_ms: int) -> Request | None:
    """The request with this id, if the log has it: looked for from when the id was made.

    Raises:
        NotInLog: the pipeline has no topic for its requests.
        Poison: this is no request's id.
    """
    made_ms, topic = created_ms(wanted), requests_topic(pipeline)
    partitions = await places(consumer, topic)
    starts = await starts_since(consumer, partitions, made_ms - CLOCKS_APART_MS)
    async with aclosing(records_of(consumer, starts)) as batches:
        async for records in batches:
            for raw in records:
                if raw.key is not None and raw.key != wanted.encode():
                    continue
                request = _request(raw.value)
                if request is not None and request.id == wanted:
                    return request
            if records[-1].timestamp > made_ms + horizon_ms:  # a request that came so late was never begun
                consumer.pause(*(place for place in starts if place.partition == records[-1].partition))
    return None


async def _starts(
    consumer: LogConsumer, partitions: list[TopicPartition], start: Bound, found: Found
) -> dict[TopicPartition, int]:
    if start.at_ms is not None:
        starts = await starts_since(consumer, partitions, start.at_ms)
    else:
        firsts = await consumer.beginning_offsets(partitions)
        wanted = {place: start.offset_of(place.partition) for place in partitions}
        starts = {place: max(offset or 0, firsts[place]) for place, offset in wanted.items()}
        found.gone |= {
            f"{place.topic}-{place.partition}@{offset}": firsts[place]
            for place, offset in wanted.items()
            if offset is not None and offset < firsts[place]
        }
    found.offsets |= {place.partition: (offset, offset) for place, offset in starts.items()}
    return starts


async def _within(
    consumer: LogConsumer, starts: dict[TopicPartition, int], start: Bound, stop: Bound
) -> AsyncGenerator[tuple[TopicPartition, Any], None]:
    """Records between the bounds; those of a partition are in no strict order of time, for gateways' clocks differ."""
    # Some brokers answer a search for a time with an earlier offset, and all a seek past the end with the beginning.
    first_ms, end_ms = start.at_ms or 0, stop.at_ms
    async with aclosing(records_of(consumer, starts)) as batches:
        async for records in batches:
            place = TopicPartition(records[0].topic, records[0].partition)
            last = stop.offset_of(place.partition)
            for raw in records:
                if place in consumer.paused():
                    break
                if raw.offset < starts[place] or raw.timestamp < first_ms:
                    continue
                is_past = end_ms is not None and raw.timestamp >= end_ms + CLOCKS_APART_MS
                if is_past or (last is not None and raw.offset >= last):
                    consumer.pause(place)
                elif end_ms is None or raw.timestamp < end_ms:
                    yield place, raw


def _add(found: Found, raw: Any) -> None:
    try:
        request = _read_request(raw.value or b"")
        made_ms, told = created_ms(request.id), one_line(request.input)
    except (Poison, msgspec.DecodeError):
        found.unreadable.append(f"{raw.topic}-{raw.partition}@{raw.offset}")
        return
    at_ms = raw.timestamp if raw.timestamp > 0 else made_ms  # a broker may keep no times
    due_ms = request.context.deadline_ms
    within_s = None if due_ms is None else (due_ms - at_ms) / 1000
    each = Recorded(request.id, at_ms, request.pipeline, told, request.context.mode, within_s)
    found.requests.append(each)
    found.places.setdefault(each.id, (raw.partition, raw.offset))


def _cut(found: Found, most: int | None) -> None:
    once: dict[str, Recorded] = {}
    for each in ordered(found.requests):
        once.setdefault(each.id, each)
    found.repeated = len(found.requests) - len(once)
    found.requests = list(once.values())[:most]
    for each in found.requests:
        partition, offset = found.places[each.id]
        first, after = found.offsets[partition]
        widened = (min(first, offset), max(after, offset + 1))
        found.offsets[partition] = (offset, offset + 1) if first == after else widened


def _done(value: bytes | None) -> Event | None:
    if value is None or DONE_SIGN not in value:  # most events are pieces of text
        return None
    try:
        event = _read_event(value)
    except Poison:
        return None
    return event if event.kind is EventKind.DONE else None


class _Body(msgspec.Struct):
    status: Status
    result: Raw = Raw(b"null")


def _became(event: Event, arrived_ms: int) -> Became:
    body = msgspec.json.decode(event.body, type=_Body)
    result = one_line(body.result)
    return Became(body.status, hash_of(result), (event.at_ms - arrived_ms) / 1000, result)


def _request(value: bytes | None) -> Request | None:
    try:
        return _read_request(value or b"")
    except Poison:
        return None
