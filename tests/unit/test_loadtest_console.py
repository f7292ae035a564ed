"""What the commands of the load test say, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from alto_streams.errors import PartFailed
from loadtest.console import failing, report
from loadtest.hop import HopFailed
from loadtest.kafka import Unavailable


@pytest.mark.parametrize("kind", [HopFailed, PartFailed, Unavailable])
def test_what_cannot_be_measured_is_one_line(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, failing("hop", HopFailed):
        raise kind("why")
    assert (ended.value.exit_code, *capsys.readouterr()) == (1, "", "hop: why\n")


def test_tasks_that_fail_of_one_cause_say_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    inner = ExceptionGroup("tasks", [HopFailed("late"), PartFailed("gone")])
    with pytest.raises(typer.Exit), failing("hop", HopFailed):
        raise ExceptionGroup("tasks", [HopFailed("late"), inner])
    assert capsys.readouterr().err == "hop: late\nhop: gone\n"


def test_a_bug_beside_a_failure_is_raised() -> None:
    with pytest.raises(ExceptionGroup) as raised, failing("hop", HopFailed):
        raise ExceptionGroup("tasks", [HopFailed("late"), KeyError("bug")])
    assert raised.group_contains(KeyError)
    with pytest.raises(HopFailed), failing("memory"):
        raise HopFailed("not a failure of this command")


def test_all_figures_go_into_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"p50_s": 0.5, "gaps": [1, 2], "folder": tmp_path}
    report(figures, tmp_path / "figures.json", too_long=("gaps",))
    assert json.loads((tmp_path / "figures.json").read_text()) == figures | {"folder": str(tmp_path)}
    assert json.loads(capsys.readouterr().out) == {"p50_s": 0.5, "folder": str(tmp_path)}
