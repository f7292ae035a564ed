"""Places that a command writes to are tried before its first request: one line, and nothing is begun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alto_streams.cli import run_command
from alto_streams.recordings.files import check_writable
from alto_streams.settings import settings

READ_ONLY = Path("/proc")  # which nobody can write to, whatever their rights


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting from outside, and no system that happens to run on this machine."""
    for name in [name for name in os.environ if name.startswith("ALTO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALTO_VAR", str(tmp_path / "var"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "a", "prompt": "Why?"}\n')
    return path


@pytest.mark.parametrize("command", ["run", "replay", "record", "import-trace"])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("folder.jsonl", "it is a folder; name a file"),
        ("nowhere/out.jsonl", "there is no folder"),
        (f"{READ_ONLY}/out.jsonl", "cannot be written in /proc"),
    ],
)
def test_an_output_that_cannot_be_is_refused_first(
    command: str, place: str, said: str, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    given = {"run": ["--input", str(asked)], "record": []}.get(command, [str(asked)])
    assert run_command([command, *given, "--out", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert f"--out {tmp_path / place}: " in error
    assert said in error
    assert error.count("\n") == 1


def test_trying_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    check_writable("--out", out)
    assert list(tmp_path.iterdir()) == []
    out.write_text("kept")
    check_writable("--out", out)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("var", [f"{READ_ONLY}/var", "/dev/null/var"])
@pytest.mark.parametrize("command", [["up", "--port", "18991"], ["worker", "claims"]])
def test_a_var_folder_that_cannot_be_is_one_line(
    command: list[str], var: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALTO_VAR", var)
    settings.cache_clear()
    assert run_command(command) == 2
    error = capsys.readouterr().err
    assert f"ALTO_VAR={var}: cannot be written" in error
    assert error.count("\n") == 1


def test_a_read_only_working_directory_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(READ_ONLY)
    monkeypatch.delenv("ALTO_VAR")
    settings.cache_clear()
    assert run_command(["up", "--port", "18991"]) == 2
    error = capsys.readouterr().err
    assert "ALTO_VAR=" in error
    assert "set ALTO_VAR to a folder that can" in error
    assert error.count("\n") == 1
