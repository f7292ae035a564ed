"""The commands as a user types them: a system of scripted engines, asked, fed from a file, and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alto_streams.local import ping
from alto_streams.worker.tcp_ports import free_ports
from loadtest.console import RECORDING as ROWS

COMMAND = [sys.executable, "-m", "alto_streams"]
START_S, ASK_S = 100.0, 200.0


@dataclass
class Running:
    """`alto-streams up`, with what it has printed so far."""

    process: subprocess.Popen[str]
    gateway: str
    broker: str
    folder: Path


def recorded() -> dict[str, Any]:
    return {row["id"]: row for row in map(json.loads, ROWS.read_text().splitlines())}


def command(*arguments: str, cwd: Path, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
    env = clean() | settings
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=ASK_S, cwd=cwd, env=env)
    assert done.returncode == code, done.stderr
    return done


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ALTO_")}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("up")
    port = free_ports(1)[0]
    options = ["--engine", "scripted", "--script", str(ROWS), "--port", str(port)]
    said = folder / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen(
            [*COMMAND, "up", *options], stdout=out, stderr=subprocess.STDOUT, text=True, cwd=folder, env=clean()
        )
    try:
        up = ping.wait_until(
            lambda: "Ctrl-C stops everything." in said.read_text() or process.poll() is not None, START_S
        )
        assert up, said.read_text()
        assert process.poll() is None, said.read_text()
        broker = re.search(r"broker +(kafka://\S+)", said.read_text())
        assert broker, said.read_text()
        yield Running(process, f"http://127.0.0.1:{port}", broker[1], folder)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, said.read_text()
        assert said.read_text().endswith("stopping ...\nstopped\n")
        assert "Traceback" not in said.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_ask_prints_whole_lines_and_every_verdict(system: Running) -> None:
    row = recorded()["fact-03"]
    done = command("ask", row["prompt"], "--gateway", system.gateway, cwd=system.folder)
    assert all(char == "\n" or char.isprintable() for char in done.stdout)
    for claim in row["claims"]:
        word = str(claim["label"]).upper()
        assert any(word in line and claim["claim"] in line for line in done.stdout.splitlines()), claim
    assert "first verdict" in done.stdout


def test_ask_as_json_is_one_event_a_line(system: Running) -> None:
    row = recorded()["fact-03"]
    done = command("ask", row["prompt"], "--json", "--gateway", system.gateway, cwd=system.folder)
    first, *events = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert command("cancel", first["request"], "--gateway", system.gateway, cwd=system.folder, code=2).stderr.endswith(
        f"request {first['request']} has ended already\n"
    )
    assert "".join(event["body"]["text"] for event in events if event["kind"] == "chunk") == row["response"]
    assert events[-1]["kind"] == "done"
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)


@pytest.mark.parametrize("mode", ["stream", "barrier"])
def test_every_row_comes_back_with_the_verdicts_of_its_labels(system: Running, mode: str) -> None:
    out = system.folder / f"{mode}.jsonl"
    given = ["--input", str(ROWS), "--out", str(out), "--gateway", system.gateway, "--mode", mode]
    command("run", *given, cwd=system.folder)
    rows = recorded()
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in written] == list(rows)
    assert sum(len(line["claims"]) for line in written) == 296
    for line in written:
        row = rows[line["id"]]
        assert line["status"] == "ok"
        assert line["answer"] == row["response"]
        found = sorted((claim["claim"], str(claim["verdict"])) for claim in line["claims"])
        assert found == sorted((claim["claim"], str(claim["label"])) for claim in row["claims"])
        assert line["timings"]["first_token_s"] <= line["timings"]["done_s"]


def test_what_is_recorded_is_replayed_with_the_same_results(system: Running) -> None:
    rows, folder = recorded(), system.folder
    (folder / "some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in list(rows.values())[:6]))
    begun = datetime.now(UTC).isoformat()
    through = ["--gateway", system.gateway]
    command("run", "--input", "some.jsonl", "--out", "run.jsonl", "--rate", "20", *through, cwd=folder)
    log = {"ALTO_BROKER": system.broker}
    command("record", "--from", begun, "--results", "--out", "rec.jsonl.gz", cwd=folder, **log)
    done = command("replay", "rec.jsonl.gz", "--rate", "20", "--out", "again.jsonl", *through, cwd=folder)
    assert "6 of 6 requests have ended: 6 ok" in done.stdout
    assert "sent late" in done.stdout
    told = command("diff", "rec.jsonl.gz", "again.jsonl", cwd=folder).stdout
    assert told.endswith("\n0 of 6 requests differ\n")
    assert re.search(r"^ended ok +6 +6$", told, re.MULTILINE)
    written = [json.loads(line) for line in (folder / "again.jsonl").read_text().splitlines()[1:]]
    assert all(0 < line["ttft_s"] <= line["first_item_s"] <= line["done_s"] for line in written)
    found = [sorted(claim["claim"] for claim in line["result"]["claims"]) for line in written]
    assert sorted(found) == sorted(sorted(each["claim"] for each in row["claims"]) for row in list(rows.values())[:6])
    refused = command("replay", "rec.jsonl.gz", "--pipeline", "nope", *through, cwd=folder, code=2)
    assert refused.stderr.split("\n")[-2].startswith("alto-streams: the gateway refused: pipeline: no pipeline of that")


def test_a_port_in_use_is_named_with_what_to_change(system: Running, tmp_path: Path) -> None:
    port = system.gateway.rpartition(":")[2]
    done = command("up", "--port", port, cwd=tmp_path, code=2)
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "--port" in done.stderr


def test_what_the_gateway_refuses_is_one_line(system: Running) -> None:
    refused = command("ask", "Why?", "--pipeline", "nope", "--gateway", system.gateway, cwd=system.folder, code=2)
    assert refused.stderr.endswith("--pipeline nope: there is none of that name; known: factcheck (at the gateway)\n")


def test_no_gateway_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    done = command("ask", "Why?", "--gateway", away, cwd=tmp_path, code=1)
    assert f"gateway at {away}" in done.stderr
    assert "alto-streams up" in done.stderr
    assert done.stderr.count("\n") == 1
