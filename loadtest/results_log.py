"""What the homes appended to `results`: read whole, in offset order, and checked apart from any client."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from alto_streams.parts import bootstrap_servers
from alto_streams.wire import topic_names
from alto_streams.wire.records import Event, EventKind, decoder

NUMBERED = (EventKind.CHUNK, EventKind.CLOSE)  # they count together, per stream
_decode = decoder(Event)


class LogTally(msgspec.Struct):
    """Over all requests. An identity is (kind, stage, path, number) of a request.

    repeats: an identity that had been appended already, with the same content (a log delivers at least once).
    conflicting: the same with another content. holes, reordered: the first occurrences of a stream's chunks and its
    close, in offset order, do not count 0, 1, 2, ...: a number is missing for good, or it came after a higher one.
    second_done: an end of a request beside its first, other than a repeat. details: where it is not clean, bounded.
    """

    events: int = 0
    repeats: int = 0
    conflicting: int = 0
    holes: int = 0
    reordered: int = 0
    second_done: int = 0
    after_done: int = 0
    details: list[str] = []

    MOST_DETAILS = 40

    def note(self, what: str, *where: object) -> None:
        """Remember where something went wrong."""
        if len(self.details) < self.MOST_DETAILS:
            self.details.append(f"in the log: {what}: {' '.join(map(str, where))}")

    @property
    def is_clean(self) -> bool:
        """Whether all that was appended says one thing, once or more often."""
        return not (self.conflicting or self.holes or self.second_done)

    @property
    def in_order(self) -> bool:
        """Whether it was appended once, without a hole, in order: more than a log that delivers at least once owes."""
        return self.is_clean and not (self.repeats or self.reordered or self.after_done)


async def read_results(broker: str, pipeline: str, partitions: int) -> AsyncIterator[tuple[int, int, Event]]:
    """(partition, offset, event) of all that is in the topic now; each partition in offset order, mixed with others."""
    topic = topic_names.results_topic(pipeline)
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    # A seek to the beginning may lose against the consumer's own first step, which is to the end by default.
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers(broker), auto_offset_reset="earliest")
    async with consumer:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            for place, records in (await consumer.getmany(timeout_ms=1_000)).items():
                for record in records:
                    yield place.partition, record.offset, _decode(record.value or b"")


def check_log(events: Iterable[Event]) -> LogTally:
    """Judges the events; those of one request are in offset order."""
    tally = LogTally()
    bodies: dict[tuple[str, str, str, str, int], bytes] = {}
    numbers: dict[tuple[str, str, str], list[int]] = {}
    ends: Counter[str] = Counter()
    for event in events:
        tally.events += 1
        identity = (event.request, str(event.kind), event.stage, event.path, event.number)
        body = bytes(event.body)
        if identity in bodies:
            tally.repeats += 1
            if bodies[identity] != body:
                tally.conflicting += 1
                tally.note("conflicting", *identity)
            continue
        bodies[identity] = body
        tally.after_done += ends[event.request] > 0 and event.kind is not EventKind.DONE
        ends[event.request] += event.kind is EventKind.DONE
        if event.kind in NUMBERED:
            numbers.setdefault((event.request, event.stage, event.path), []).append(event.number)
    for request, count in ends.items():
        if count > 1:
            tally.second_done += count - 1
            tally.note("second DONE", request)
    for stream, found in numbers.items():
        tally.reordered += sum(later < earlier for earlier, later in itertools.pairwise(found))
        if (missing := max(found) + 1 - len(found)) > 0:
            tally.holes += missing
            tally.note(f"{missing} missing", *stream)
    return tally
