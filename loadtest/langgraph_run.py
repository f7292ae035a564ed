"""Runs a load on the LangGraph twin in a process of its own, so that neither its imports nor its CPU disturb others."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from loadtest.samples import Sample

STARTS_S = 60.0  # imports and the graph, on a busy machine
ENDED_S = 300.0  # a request that has not ended by then counts as an error
QUOTED_CHARS = 400


class LangGraphFailed(Exception):
    """The process with the LangGraph twin has not brought a result."""


class Outcome(msgspec.Struct, frozen=True):
    """Of one run. `cpu_s`: CPU time of the whole process while it was under load: graph, engines and load generator.

    `bare`: the same nodes ran with no graph around them. What its `cpu_s` is less is the cost of LangGraph.
    """

    langgraph: str
    bare: bool
    rate: float
    count: int
    seed: int
    cpu_s: float
    cpu_ms_per_request: float
    max_rss_mib: float
    samples: list[Sample]


def langgraph_run(rate: float, count: int, seed: int, recording: Path) -> tuple[list[Sample], float]:
    """`count` requests at `rate` a second: their samples, and the CPU seconds of the process under load.

    Raises:
        LangGraphFailed: the process ended otherwise than with a result, or not at all; says what it wrote last.
    """
    outcome = langgraph_outcome(rate, count, seed, recording)
    return outcome.samples, outcome.cpu_s


def langgraph_outcome(rate: float, count: int, seed: int, recording: Path, *, bare: bool = False) -> Outcome:
    """All that is known of such a run. `bare`: without LangGraph. Raises as `langgraph_run`."""
    command = [sys.executable, "-m", "loadtest.langgraph_drive", "--rate", str(rate), "--count", str(count)]
    command += ["--seed", str(seed), "--recording", str(recording.resolve()), *(["--bare"] if bare else [])]
    within_s = STARTS_S + 2 * count / rate + ENDED_S
    with tempfile.TemporaryDirectory(prefix="langgraph-twin-") as folder:
        result = Path(folder) / "result.json"
        try:
            ended = subprocess.run(
                [*command, "--json", str(result)],
                cwd=Path(__file__).resolve().parents[1],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LangGraphFailed(f"the LangGraph twin has not ended within {within_s:.0f} s") from None
        if ended.returncode != 0 or not result.is_file():
            last = ended.stderr.strip()[-QUOTED_CHARS:] or "nothing"
            raise LangGraphFailed(
                f"the LangGraph twin ended with status {ended.returncode} and wrote last: {last}\n"
                f"To see all of it: {shlex.join(command)} --json FILE"
            )
        try:
            return msgspec.json.decode(result.read_bytes(), type=Outcome)
        except msgspec.MsgspecError as error:
            raise LangGraphFailed(f"the LangGraph twin's result cannot be read: {error}") from None
