"""What `up` says that it keeps, and what it keeps: a broker that is killed, logs of a healthy start, what it uses."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from loadtest.kafka import Unavailable, kafka_jars
from tests.e2e.systems import Process, System, process, read_lines, up, wait_for, write_rows

ANSWER = " ".join(f"Country number {number} has a capital of its own." for number in range(40))
ROW = {
    "id": "one",
    "prompt": "What is the capital of France?",
    "response": f"The capital of France is Paris. {ANSWER}",
    "claims": [{"claim": "The capital of France is Paris", "label": True}],
}


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, str]:
    """Models that play a recording at a model's pace, so that there is a middle of a request."""
    script = write_rows(tmp_path / "script.jsonl", [ROW])
    return {"ALTO_MODELS": ",".join(f"{name}=scripted:{script}?timing=reference" for name in ("chat", "judge"))}


def broker_pid(folder: Path) -> int:
    """The Java process whose data is in this folder's var."""
    wanted = str(folder / "var" / "kafka" / "server.properties").encode()
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"kafka.Kafka" in words and wanted in words:
            return int(cmdline.parent.name)
    raise AssertionError("no Apache Kafka runs there")


def needs_kafka() -> None:
    try:
        kafka_jars()
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")


def ask(system: System, name: str = "ask") -> Process:
    return Process(name, ["ask", "--gateway", system.gateway, "--json", ROW["prompt"]], system.folder, {})  # type: ignore[list-item]


def healthy(folder: Path) -> None:
    """No error, no colour and no box in any log."""
    logs = sorted((folder / "var" / "logs").glob("*.log"))
    assert len(logs) > 8
    for log in logs:
        text = log.read_text(encoding="utf-8")
        assert not re.search(r"\b(ERROR|CRITICAL|Traceback)\b", text), f"{log.name}: {text}"
        assert "\x1b" not in text, log.name
        assert not re.search(r"^[+|┌│└]|ƒaµS†", text, re.MULTILINE), f"{log.name}: {text[:300]}"


def test_a_system_whose_broker_keeps_nothing_says_so_and_starts_clean(tmp_path: Path, slow: dict[str, str]) -> None:
    with up(tmp_path, slow) as system:
        said = system.process.said()
        assert re.search(r"^keeps +nothing: .*`up --kafka` keeps it$", said, re.MULTILINE), said
        used = system.process.wait_said(
            r"uses +(\d+) workers, (\d+) processes, ([0-9.]+) GiB of memory, and (\d+)% of a"
        )
        assert 8 <= int(used[1]) < int(used[2]) < 60
        assert 0.3 < float(used[3]) < 8
        healthy(tmp_path)


def test_a_killed_broker_that_keeps_its_log_loses_no_request(tmp_path: Path, slow: dict[str, str]) -> None:
    needs_kafka()
    with up(tmp_path, slow, "--kafka") as system:
        healthy(tmp_path)
        assert "keeps    the log, in" in system.process.said()
        asked = ask(system)
        wait_for(lambda: asked.said().count('"chunk"') > 3, asked.said)
        os.kill(broker_pid(tmp_path), signal.SIGKILL)
        system.process.wait_said(r"kafka died; starting it again")
        assert asked.wait() == 0, asked.said()
        assert "kafka is back after" in system.process.said()
        done = asked.said()
        assert '"ok"' in done.splitlines()[-1], done
        late = ask(system, "late")
        wait_for(lambda: late.said().count('"chunk"') > 3, late.said)
        system.process.stop()
        late.kill()
    with up(tmp_path, slow, "--kafka") as again:
        assert again.process.said().count("kafka is ready") == 1
        out = tmp_path / "kept.jsonl"
        env = {"ALTO_BROKER": f"kafka://{again.broker}"}

        def both_have_ended() -> bool:
            with process("record", ["record", "--results", "--out", str(out)], tmp_path, env) as recording:
                recording.wait()
            return out.exists() and [(row.get("became") or {}).get("status") for row in read_lines(out)[1:]] == [
                "ok",
                "ok",
            ]

        wait_for(both_have_ended, lambda: out.read_text() if out.exists() else "nothing recorded")


def test_another_broker_and_an_own_one_are_a_contradiction(tmp_path: Path) -> None:
    with process("up", ["up", "--kafka"], tmp_path, {"ALTO_BROKER": "kafka://127.0.0.1:1"}) as refused:
        assert refused.wait() == 2
        assert "--kafka: ALTO_BROKER names a broker already (kafka://127.0.0.1:1)" in refused.said()
