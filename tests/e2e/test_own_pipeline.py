"""README's own pipeline, copied into an empty folder: it answers within a minute of `up --app`, with no topics file."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import Kafka, Server, Unavailable
from tests.e2e.systems import Process, process
from tests.readme import write_summaries

APP = ["--app", "summaries:pipeline"]
WITHIN_S = 60.0


@pytest.fixture
def empty_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of its own: what other tests have made must not be there."""
    try:
        server = Kafka(tmp_path_factory.mktemp("empty"))
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")
    server.start()
    yield server
    server.stop()


def answers_within(folder: Path, env: Mapping[str, str]) -> None:
    """Starts the pipeline, asks it with the line that `up` prints, and waits for its result."""
    write_summaries(folder)
    began_s = time.monotonic()
    with process("up", ["up", "--port", str(free_ports(1)[0]), *APP], folder, env) as started:
        said = started.wait_said(r"(?s)serves +summaries: questions, answers, page\n.*\n  alto-streams (ask [^\n]+)")
        asking = Process("ask", shlex.split(said[1]), folder, {})
        assert asking.wait() == 0, asking.said()
        took_s = time.monotonic() - began_s
        assert re.search(r"answers +\S", asking.said()), asking.said()
        assert took_s < WITHIN_S, f"{took_s:.0f} s: {started.said()}"


def test_on_the_embedded_broker(tmp_path: Path) -> None:
    answers_within(tmp_path, {})


def test_on_an_empty_kafka(empty_kafka: Server, tmp_path: Path) -> None:
    refused = process("refused", ["up", *APP, "--no-create"], tmp_path, {"ALTO_BROKER": empty_kafka.url})
    write_summaries(tmp_path)
    with refused as up:
        assert up.wait() == 2, up.said()
        assert re.search(r"14 of 14 topics are missing, and --no-create", up.said()), up.said()
        assert "\n  chunks.summaries.answers\n" in up.said()
    answers_within(tmp_path, {"ALTO_BROKER": empty_kafka.url})
    env = {"ALTO_BROKER": empty_kafka.url, "ALTO_PIPELINES": "summaries:pipeline"}
    with process("check", ["topics", "check"], tmp_path, env) as checked:
        assert checked.wait() == 0, checked.said()
