"""Stages that begin a broken call anew: what had come of it is withdrawn, and the end is as if nothing had broken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from alto_streams.errors import Poison
from alto_streams.log.topics_file import load_topics
from alto_streams.wire.records import Event, EventKind, decoder
from tests.broker.brokers import Server
from tests.e2e.systems import Expected, read_lines, recording, up, write_rows

TOPIC = "results.factcheck"


def test_what_a_killed_worker_had_said_is_withdrawn(kafka: Server, tmp_path: Path) -> None:
    rows = recording()[:16]
    given = write_rows(tmp_path / "rows.jsonl", rows)
    engine = f"scripted:{given}?timing=reference"
    env = {
        "ALTO_SESSION_TIMEOUT_S": "6",
        "ALTO_SILENCE_S": "10",
        "ALTO_BROKER": kafka.url,
        "ALTO_MODELS": f"chat={engine},judge={engine}",
        "ALTO_REDO": "factcheck.answer,factcheck.claims,factcheck.queries,factcheck.verdict",
    }
    with up(tmp_path, env, "--workers-per-stage", "2") as running:
        out = tmp_path / "out.jsonl"
        began_ms = asyncio.run(newest_ms(kafka.url))
        run = running.run(given, out)
        run.wait_said(r"\d+/16 requests done")
        for part in ("lm-chat", "lm-judge", "lm-judge-2"):
            os.kill(running.pid_of(part), signal.SIGKILL)
        assert run.wait() == 0, run.said()
        told = asyncio.run(events(kafka.url, began_ms))
    Expected(rows, given).check(read_lines(out))
    withdrawn = [each for each in told if each.kind is EventKind.RETRACTED]
    assert withdrawn
    # Of one stream of text, the numbers of what a client is shown go on, whatever is withdrawn.
    shown = [(each.request, each.number) for each in told if each.kind is EventKind.CHUNK]
    for request in {request for request, _ in shown}:
        numbers = list(dict.fromkeys(number for each, number in shown if each == request))
        assert numbers == list(range(len(numbers)))


async def newest_ms(url: str) -> int:
    """The time of the newest event, or 0: the broker may hold those of other tests."""
    return max((each.at_ms for each in await events(url, 0)), default=0)


async def events(url: str, after_ms: int) -> list[Event]:
    """All client events after this time, partition by partition."""
    decode, found = decoder(Event), list[Event]()
    given = {"fetch_max_wait_ms": 50, "auto_offset_reset": "earliest"}
    async with AIOKafkaConsumer(bootstrap_servers=url.removeprefix("kafka://"), **given) as consumer:
        places = [TopicPartition(TOPIC, n) for n in range(load_topics().partitions(TOPIC))]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            async with asyncio.timeout(60):
                while await consumer.position(place) < ends[place]:
                    for records in (await consumer.getmany(place, timeout_ms=200)).values():
                        for record in records:
                            with contextlib.suppress(Poison):  # other tests leave what nothing can read
                                found.append(decode(record.value or b""))
    return [each for each in found if each.at_ms > after_ms]
