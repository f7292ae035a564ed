"""What is left of requests after the horizon, in short: `python -m loadtest memory` measures the same at length."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alto_streams.client import Client
from alto_streams.log.topics_file import load_topics
from alto_streams.wire.records import EventKind
from alto_streams.wire.topic_names import results_topic
from loadtest import small
from loadtest.kafka import Unavailable
from loadtest.memory import measure
from loadtest.results_log import check_log, read_results
from loadtest.systems import System, system

BOUNDS = {"horizon_s": 8.0, "session_timeout_s": 4.0, "heartbeat_s": 0.5}
OUTAGE_S = 11.0


def test_after_the_horizon_nothing_is_left() -> None:
    """No row in any worker, none in the changelogs, markers of at most 64 bytes, and memory that does not grow."""
    try:
        figures = measure(50, 200, at_once=8, horizon_s=10)  # no request may take longer
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")
    kept = figures["changelogs"]
    assert kept["markers"] >= 200
    assert kept["marker_bytes"] <= 64
    assert kept["rows"] == 0
    assert figures["after_the_horizon"]["worst_growth_percent"] <= 10


async def test_a_request_ends_though_its_root_was_away_past_the_horizon(tmp_path: Path) -> None:
    """One that was under way when the root's worker went away, and one that was accepted while it was."""
    (tmp_path / "recording").write_text("its pipeline knows it\n")
    models = {small.MODEL: f"scripted:{tmp_path / 'recording'}"}
    try:
        async with system(tmp_path, "loadtest.small", models, workers=1, **BOUNDS) as running:
            heard = await _ends_of_an_outage(running)
            await asyncio.sleep(BOUNDS["horizon_s"])  # sweeps come in between
            partitions = load_topics(running.settings.topics_file).partitions(results_topic("small"))
            told = [event async for _, _, event in read_results(running.settings.broker, "small", partitions)]
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")
    assert heard == ["deadline exceeded", "deadline exceeded"]
    assert len({event.request for event in told if event.kind is EventKind.DONE}) == 2
    assert check_log(told).is_clean


async def _ends_of_an_outage(running: System) -> list[str]:
    """What clients hear of a request that is under way when the root's worker stands still, and of a later one."""
    async with Client([running.gateway]) as client:
        with _stopped(running, f"lm-{small.MODEL}"):  # what is under way stays so
            ends = [await _under_way(client)]
            with _stopped(running, small.pipeline.root):
                ends.append(asyncio.create_task(_end(client, await client.submit("small", {"name": "later"}))))
                await asyncio.sleep(OUTAGE_S)
            return await asyncio.wait_for(asyncio.gather(*ends), 60)


async def _under_way(client: Client) -> asyncio.Task[str]:
    """The root has heard of a request; its end is awaited."""
    request = await client.submit("small", {"name": "sooner"})
    async for event in client.events(request):
        if event.kind is EventKind.ACCEPTED:
            break
    return asyncio.create_task(_end(client, request))


async def _end(client: Client, request: str) -> str:
    """Why it ended, as its client hears."""
    return "".join([event.body["cause"] async for event in client.events(request) if event.kind is EventKind.DONE])


@contextmanager
def _stopped(running: System, part: str) -> Iterator[None]:
    """The part's process stands still meanwhile: it neither leaves its group nor hears of anything."""
    pid = running.supervisor.pids[part]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
