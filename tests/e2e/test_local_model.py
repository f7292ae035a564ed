"""The main job with the real local model: what `make demo` runs, as its user sees it when the output is no terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "alto_streams", "demo")
MARKS = re.compile(r"^ +(first verdict|answer end|done) +([0-9.]+) s$", re.MULTILINE)
LIMIT_S = 240


def demo(folder: Path, *options: str) -> tuple[str, dict[str, float]]:
    """Its output, and the marks of its timeline in seconds since the submission."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ALTO_")}
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, cwd=folder, env=env, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, {name: float(seconds) for name, seconds in MARKS.findall(done.stdout)}


@pytest.mark.timeout(3 * LIMIT_S)
def test_the_first_verdict_comes_before_the_answer_ends_but_not_with_a_barrier(tmp_path: Path) -> None:
    # How long the model's answer gets varies with what is batched together, so one answer may be too short to overtake.
    for question in (None, "What should I know about Spain, Japan, Brazil and Germany?"):
        said, marks = demo(tmp_path, *(["--question", question] if question else []))
        assert "answer   " in said
        assert "verdict  " in said
        assert all(char == "\n" or char.isprintable() for char in said)
        assert said.endswith("stopped\n")
        if marks["first verdict"] < marks["answer end"]:
            break
    print(f"stream: first verdict {marks['first verdict']} s, answer end {marks['answer end']} s")
    assert marks["first verdict"] < marks["answer end"]

    said, marks = demo(tmp_path, "--mode", "barrier")
    print(f"barrier: first verdict {marks['first verdict']} s, answer end {marks['answer end']} s")
    assert marks["first verdict"] > marks["answer end"]
