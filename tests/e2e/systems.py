"""Systems that the end-to-end tests start as a user would: `alto-streams up` and `alto-streams run` as processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alto_streams.local import ping
from alto_streams.models.scripted import Script
from alto_streams.pipelines.factcheck import script
from alto_streams.pipelines.factcheck.search import Search
from alto_streams.wire.records import Call
from alto_streams.worker.tcp_ports import free_ports
from loadtest.console import RECORDING as ROWS

COMMAND = [sys.executable, "-m", "alto_streams"]
START_S, RUN_S, STOP_S = 100.0, 200.0, 60.0

Row = dict[str, Any]


def recording() -> list[Row]:
    """The project's recorded fact checks."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """A recording, or an input file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with these ALTO_ variables and no others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ALTO_")} | dict(more)


def wait_for(condition: Callable[[], bool], what: Callable[[], str], deadline_s: float = START_S) -> None:
    """Until another process has got somewhere; `what` tells, when it is too late, how far it is."""
    assert ping.wait_until(condition, deadline_s), f"not within {deadline_s:g} s: {what()}"


class Process:
    """An `alto-streams` command with what it has said so far."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment({"TMPDIR": str(folder), **env}),  # where `up` names itself: no other system is seen
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        return self.log.read_text()

    def wait_said(self, pattern: str, deadline_s: float = START_S) -> re.Match[str]:
        """Until its output has the pattern."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            match = re.search(pattern, self.said())
            found.extend([match] if match else [])
            return match is not None or not self.runs

        wait_for(seen, self.said, deadline_s)
        assert found, self.said()
        return found[0]

    def wait(self, deadline_s: float = RUN_S) -> int:
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {deadline_s:g} s: {self.said()}") from None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end; its exit code."""
        self._process.send_signal(number)
        return self.wait(STOP_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def process(name: str, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> Iterator[Process]:
    """A command that is not left running; one that starts others gets the time to end them."""
    started = Process(name, arguments, folder, env)
    try:
        yield started
    finally:
        if started.runs:
            try:
                started.stop()
            except AssertionError:
                started.kill()
                raise


@dataclass(frozen=True)
class System:
    """A running `alto-streams up`."""

    process: Process
    gateway: str
    folder: Path

    @property
    def broker(self) -> str:
        """The address of its broker, as `host:port`."""
        return self.process.wait_said(r"broker +kafka://(\S+)")[1]

    def run(self, rows: Path, out: Path, *options: str) -> Process:
        """`alto-streams run` through this system; begun, not waited for."""
        given = ["--input", str(rows), "--out", str(out), "--gateway", self.gateway, *options]
        return Process(f"run-{out.stem}", ["run", *given], self.folder, {})

    def pid_of(self, part: str) -> int:
        """The process of a worker, by the name that the supervisor gives its parts."""
        children: dict[int, list[int]] = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                children.setdefault(int(status.read_text().rpartition(")")[2].split()[1]), []).append(
                    int(status.parent.name)
                )
            except OSError:
                continue  # ended meanwhile
        found, parents = [], [self.process.pid]
        while parents:
            for pid in children.get(parents.pop(), []):
                parents.append(pid)
                with contextlib.suppress(OSError):  # ended meanwhile, as a process that only forks does
                    if Path(f"/proc/{pid}/comm").read_text().strip() == f"alto {part}":
                        found.append(pid)
        assert len(found) == 1, f"processes of {part}: {found}"
        return found[0]


@contextmanager
def up(folder: Path, env: Mapping[str, str], *options: str) -> Iterator[System]:
    """A system of one machine, with its own gateway port."""
    port = free_ports(1)[0]
    with process("up", ["up", "--port", str(port), *options], folder, env) as started:
        started.wait_said(r"Ctrl-C stops everything\.")
        yield System(started, f"http://127.0.0.1:{port}", folder)


def read_lines(out: Path) -> list[Row]:
    return [json.loads(line) for line in out.read_text().splitlines()]


class Expected:
    """What a run must deliver for rows of a recording."""

    def __init__(self, rows: Sequence[Row], recorded: Path) -> None:
        self.rows = rows
        self._script: Script = script(recorded)
        self._search = Search()

    def check(self, written: Sequence[Row]) -> None:
        """Every row once and whole: the answer, each claim once with its label, and with its own evidence only."""
        assert [line["id"] for line in written] == [row["id"] for row in self.rows]
        for line, row in zip(written, self.rows, strict=True):
            assert (line["status"], line["cause"]) == ("ok", None), line
            assert line["answer"] == row["response"]
            assert [each["claim"] for each in line["claims"]] == [each["claim"] for each in row["claims"]]
            for found, label in zip(line["claims"], row["claims"], strict=True):
                self._claim(found, label["label"])

    def _claim(self, found: Row, label: bool | None) -> None:
        assert found["verdict"] is label, found
        if label is None:
            assert found["status"] == "failed"
            assert found["cause"] == "the first line is no verdict"
            return
        assert (found["status"], found["cause"]) == ("ok", None)
        queries = self._script("factcheck.queries", Call([], 1, subject=found["claim"])) or ""
        own = {
            (passage.source, passage.text)
            for query in queries.splitlines()
            for passage in self._search.search_nowait(query, 2)
        }
        assert {(each["source"], each["text"]) for each in found["evidence"]} == own
        assert len(found["evidence"]) == len(own)
