"""What a run that went wrong leaves behind, for whoever looks for the cause: what clients heard, and every topic."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from alto_streams.history.stretches import places, records_of
from alto_streams.log.consumer import LogConsumer
from alto_streams.parts import bootstrap_servers
from loadtest.chaos_load import Asked

CLIENTS, TOPICS, FIGURES = "clients.jsonl", "topics", "figures.json"


@asynccontextmanager
async def kept_if_it_fails(broker: str, asked: Sequence[Asked], folder: Path) -> AsyncIterator[None]:
    """Keeps clients and topics if what is done meanwhile raises; of a broker that is away there is its own disk."""
    try:
        yield
    except Exception:
        with contextlib.suppress(KafkaError, OSError):
            await keep(broker, asked, folder)
        raise


async def keep(broker: str, asked: Sequence[Asked], folder: Path) -> None:
    """Writes what each client heard, and all records of every topic (one file a topic, in order of time), to `folder`.

    Raises:
        KafkaError: the broker does not answer.
    """
    keep_clients(asked, folder / CLIENTS)
    await keep_topics(broker, folder / TOPICS)


def keep_clients(asked: Sequence[Asked], file: Path) -> None:
    """One line a request: when it was offered, what came when, and what trouble its client had."""
    with file.open("w", encoding="utf-8") as lines:
        for each in asked:
            heard = [[round(at, 3), msgspec.to_builtins(event)] for at, event in each.heard]
            about = {"number": each.number, "request": each.id, "row": each.row["id"], "trouble": each.trouble}
            times = {"offered_s": each.offered_s, "accepted_s": each.accepted_s, "ended_s": each.ended_s}
            lines.write(json.dumps(about | times | {"heard": heard}) + "\n")


async def keep_topics(broker: str, folder: Path) -> None:
    """One file a topic, changelogs included: `[time in ms, partition, offset, key, value]` a line, by time."""
    consumer = LogConsumer(
        bootstrap_servers=bootstrap_servers(broker),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        for topic in sorted(await consumer.topics()):
            rows = [row async for row in _rows(consumer, topic)]
            rows.sort(key=lambda row: (row[0], row[1], row[2]))
            _write(folder, topic, rows)
    finally:
        await consumer.stop()


async def _rows(consumer: LogConsumer, topic: str) -> AsyncIterator[list[Any]]:
    firsts = await consumer.beginning_offsets(await places(consumer, topic))
    async with aclosing(records_of(consumer, firsts)) as batches:
        async for records in batches:
            for raw in records:
                yield [raw.timestamp, raw.partition, raw.offset, _text(raw.key), _text(raw.value)]


def _write(folder: Path, topic: str, rows: Sequence[list[Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{topic}.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")
