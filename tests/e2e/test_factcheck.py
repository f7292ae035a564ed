"""The fact-check pipeline over real brokers: a whole recording through `alto-streams run`, and what faults leave of it.

That claims with 0, 1, 2 or 5 queries each get their own evidence is played in many orders by `tests/simulation`; here
the evidence of every claim is compared with what a search for its own two queries finds.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from alto_streams.pipelines.factcheck.prompts import CLAIMS_GRAMMAR
from alto_streams.wire.records import DeadLetter, decoder
from tests.broker.brokers import Server
from tests.e2e.systems import Expected, Process, System, process, read_lines, recording, up, write_rows

KAFKA = {"ALTO_SESSION_TIMEOUT_S": "6"}
UNCLEAR = {
    "id": "unclear",
    "prompt": "What are the colours of the French flag?",
    "response": "The French flag is blue, white and red. It has three stripes. They are vertical.",
    "claims": [
        {"claim": "The French flag is blue, white and red", "label": True},
        {"claim": "The French flag has three stripes", "label": None},
        {"claim": "The stripes of the French flag are vertical", "label": True},
    ],
}
SILENT = {"id": "silent", "prompt": "What do you think?", "response": "I have no opinion.", "claims": []}


def ended(run: Process) -> Process:
    """The run is over, and every request of it ended well."""
    assert run.wait() == 0, run.said()
    return run


@pytest.mark.parametrize(("broker", "workers"), [("tansu", 1), ("kafka", 2)])
def test_every_row_is_answered_and_judged_by_its_labels(
    broker: str, workers: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Tansu is the run's own."""
    rows = recording()
    given = write_rows(tmp_path / "rows.jsonl", rows)
    env = KAFKA | {"ALTO_BROKER": request.getfixturevalue("kafka").url} if broker == "kafka" else {}
    out = tmp_path / "out.jsonl"
    options = ["--pipeline", "factcheck", "--input", str(given), "--out", str(out), "--at-once", "8"]
    options += ["--engine", "scripted", "--script", str(given), "--workers-per-stage", str(workers)]
    with process("run", ["run", *options], tmp_path, env) as run:
        ended(run)
    written = read_lines(out)
    assert sum(len(line["claims"]) for line in written) == 296
    Expected(rows, given).check(written)
    assert "Traceback" not in run.said()
    assert " died" not in run.said()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One machine with the embedded broker, playing the recording and two rows of our own."""
    folder = tmp_path_factory.mktemp("unclear")
    write_rows(folder / "script.jsonl", [*recording(), UNCLEAR, SILENT])
    with up(folder, {}, "--engine", "scripted", "--script", str(folder / "script.jsonl")) as running:
        yield running


@pytest.mark.parametrize("mode", ["stream", "barrier"])
def test_a_verdict_that_does_not_parse_is_a_failed_leaf(system: System, mode: str) -> None:
    """In both modes: its request is whole, rows beside it are as ever, and a dead letter says what failed and why."""
    rows = [UNCLEAR, *recording()[:6], SILENT]
    given = write_rows(system.folder / f"{mode}.jsonl", rows)
    out = system.folder / f"{mode}.out.jsonl"
    before = asyncio.run(dead_letters(system.broker))
    ended(system.run(given, out, "--mode", mode))
    written = read_lines(out)
    Expected(rows, system.folder / "script.jsonl").check(written)
    new = asyncio.run(dead_letters(system.broker))[len(before) :]
    assert [(each.stage, each.cause) for each in new] == [("verdict", "the first line is no verdict")]
    (letter,) = new
    assert letter.topic == "chunks.factcheck.verdict"
    assert letter.request
    assert letter.path
    first, end = (written[0]["timings"][name] for name in ("first_verdict_s", "answer_end_s"))
    if mode == "barrier":
        assert first > end


async def dead_letters(broker: str) -> list[DeadLetter]:
    """All that have been written."""
    place, decode, found = TopicPartition("dead-letters.factcheck", 0), decoder(DeadLetter), []
    given = {"fetch_max_wait_ms": 50, "auto_offset_reset": "earliest"}
    async with AIOKafkaConsumer(bootstrap_servers=broker, **given) as consumer:
        consumer.assign([place])
        async with asyncio.timeout(60):
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [decode(record.value) for record in records]
    return found


def test_workers_that_are_killed_cost_no_request_anything(kafka: Server, tmp_path: Path) -> None:
    """One LM worker of two and one stage worker of two die while calls run; the supervisor starts both again."""
    # A call that is continued keeps to the lines that its grammar allows, which a recording does not.
    rows = [row for row in recording() if len(row["claims"]) <= CLAIMS_GRAMMAR.most and "broken_lines" not in row][:24]
    given = write_rows(tmp_path / "rows.jsonl", rows)
    engine = f"scripted:{given}?timing=reference"
    env = KAFKA | {"ALTO_BROKER": kafka.url, "ALTO_MODELS": f"chat={engine},judge={engine}", "ALTO_SILENCE_S": "10"}
    with up(tmp_path, env, "--workers-per-stage", "2") as running:
        out = tmp_path / "out.jsonl"
        run = running.run(given, out)
        run.wait_said(rf"\d+/{len(rows)} requests done")
        for part in ("lm-judge", "queries-2"):
            os.kill(running.pid_of(part), signal.SIGKILL)
        assert run.runs
        ended(run)
        for part in ("lm-judge", "queries-2"):
            running.process.wait_said(rf"{part} died; starting it again")
            running.process.wait_said(rf"{part} is back after")
    Expected(rows, given).check(read_lines(out))
