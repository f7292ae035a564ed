"""The command `limit`: the shape of its JSON, its figures, and what it says of a file that is no recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.__main__ import cli
from loadtest.console import RECORDING
from loadtest.limit_figures import Plan, measure_limit
from loadtest.reference.workload import load_workload
from loadtest.samples import MODES


def test_every_mode_has_its_figures() -> None:
    plan, heard = Plan(seeds=1, requests=250, rates=(1.0, 2.5)), list[str]()
    found = measure_limit(load_workload(RECORDING), plan, heard.append)
    assert tuple(found) == MODES
    assert len(heard) == plan.measurements
    for mode in MODES:
        of_mode = found[mode]
        assert set(of_mode["rates"]) == {"1", "2.5"}
        low, high = of_mode["rates"]["1"], of_mode["rates"]["2.5"]
        assert of_mode["no_load_mean_s"] < low["mean_s"] < high["mean_s"]
        assert low["ttft_s"] < low["first_verdict_s"] < low["mean_s"] < low["p99_s"]
        assert of_mode["throughput_at_4s"] < of_mode["throughput_at_5600ms"]
        assert low["errors"] == 0
    for name in ("throughput_at_4s", "throughput_at_5600ms"):
        assert found["barrier"][name] < found["stream"][name] < found["verdict_first"][name]
    assert found["barrier"]["no_load_mean_s"] == pytest.approx(3.68, rel=0.05)


def test_the_command_writes_what_it_was_measured_on(tmp_path: Path) -> None:
    file = tmp_path / "limit.json"
    arguments = ["limit", "--seeds", "1", "--requests", "150", "--json", str(file)]
    ran = CliRunner().invoke(cli, arguments)
    assert ran.exit_code == 0, ran.output
    assert "req/s at mean 5.6" in ran.output
    written = json.loads(file.read_text())
    assert set(written) == {"limit", "machine", "commit", "settings"}
    assert written["settings"]["requests"] == 150
    assert written["settings"]["recording"] == RECORDING.name  # without the option, the project's own
    assert written["settings"]["timing"]["base_s"] == 0.012
    assert written["machine"]["cores"] > 0


def test_a_file_that_is_no_recording_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": 3}\n')
    ran = CliRunner().invoke(cli, ["limit", "--recording", str(file)])
    assert ran.exit_code == 1
    assert f"limit: {file}, line 1:" in ran.output
