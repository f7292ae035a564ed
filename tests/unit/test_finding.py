"""Commands find the system that `up` has on this machine, and refuse to guess between two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from alto_streams.cli.finding import attach
from alto_streams.errors import ConfigError
from alto_streams.local.system_file import NAME, Left, RunningSystem, kept, refuse_used, running_systems, system_in
from alto_streams.settings import Settings, settings

KILLED = """
import os, signal
from pathlib import Path
from alto_streams.local.system_file import kept
from tests.unit.test_finding import a_system
with kept(a_system(Path({var!r}), 1)):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def a_system(folder: Path, port: int, **other: object) -> RunningSystem:
    addresses = {"broker": f"kafka://127.0.0.1:{port + 1}", "redis": f"redis://127.0.0.1:{port + 2}/0"}
    own = {"pid": os.getpid(), "var": str(folder / "var"), "folder": str(folder), "host": "127.0.0.1"}
    given = own | addresses | {"gateway_port": port, "pipelines": ["mine:pipeline"], **other}
    return RunningSystem(**given)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No other system of this machine, no settings, and nothing left of what `attach` sets."""
    for name in [name for name in os.environ if name.startswith("ALTO_")]:
        monkeypatch.delenv(name)
    before, path = dict(os.environ), list(sys.path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    settings.cache_clear()
    yield
    os.environ.clear()
    os.environ.update(before)
    sys.path[:] = path
    settings.cache_clear()


@contextmanager
def running(*systems: RunningSystem) -> Iterator[None]:
    with ExitStack() as stack:
        for system in systems:
            stack.enter_context(kept(system))
        yield


def attached(*gateways: str, gateway_only: bool = False) -> Settings:
    settings.cache_clear()
    attach(list(gateways), gateway_only=gateway_only)
    return settings()


def test_the_one_of_this_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, other = a_system(tmp_path / "here", 7000, topics_file="/t.yaml"), a_system(tmp_path / "other", 7100)
    with running(other, mine):
        found = attached()
    assert (found.broker, found.redis, found.gateway_port) == (mine.broker, mine.redis, 7000)
    assert (found.pipelines, found.topics_file) == (["mine:pipeline"], Path("/t.yaml"))
    said = capsys.readouterr().err
    assert said == f"alto-streams: using the system of var (gateway {mine.gateway}, broker {mine.broker})\n"


def test_the_only_one_of_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = a_system(tmp_path / "other", 7100, redis="redis://user:hidden@127.0.0.1:7102/0")
    with running(other):
        assert attached().redis == other.redis
    assert other.folder in sys.path, "its pipelines are found"
    said = capsys.readouterr().err
    assert other.var in said
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("given", "gateways"),
    [
        ({"ALTO_BROKER": "kafka://127.0.0.1:7201"}, []),
        ({"ALTO_GATEWAY_PORT": "7200"}, []),
        ({}, ["http://127.0.0.1:7200/"]),
    ],
)
def test_of_two_the_one_that_is_named(
    given: dict[str, str], gateways: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = a_system(tmp_path / "one", 7100), a_system(tmp_path / "other", 7200)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with running(one, other):
        assert attached(*gateways).redis == other.redis


def test_two_are_not_guessed_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = a_system(tmp_path / "one", 7100), a_system(tmp_path / "other", 7200)
    with running(one, other):
        with pytest.raises(ConfigError, match=rf"(?s)2 systems run.*ALTO_VAR={one.var} .*ALTO_VAR={other.var} "):
            attached()
        monkeypatch.setenv("ALTO_VAR", other.var)
        assert attached().broker == other.broker
    assert running_systems() == []


def test_settings_for_another_system_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTO_BROKER", "kafka://elsewhere:9092")
    with running(a_system(tmp_path / "here", 7000), a_system(tmp_path / "other", 7100)):
        found = attached()
    assert found.broker == "kafka://elsewhere:9092"
    assert found.redis == Settings(_env_file=None).redis  # type: ignore[call-arg]


def test_a_command_that_may_start_its_own_takes_the_gateway_alone(tmp_path: Path) -> None:
    with running(a_system(tmp_path / "here", 7000)):
        found = attached(gateway_only=True)
    assert found.gateway_port == 7000
    assert "broker" not in found.model_fields_set


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    mine = a_system(tmp_path / "here", 7000)
    with running(mine):
        with pytest.raises(ConfigError, match=rf"ALTO_VAR={mine.var}: the `up` at {mine.gateway} .*ALTO_VAR=var2"):
            running(a_system(tmp_path / "here", 7300)).__enter__()
        with pytest.raises(ConfigError, match=r"uses this folder; stop it"):
            refuse_used(Path("var"))
    refuse_used(Path("var"))
    with running(mine):
        assert system_in(Path("var")) == mine


@pytest.mark.parametrize("place", ["/proc", "a_file"])
def test_a_folder_that_cannot_be_written_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "a_file").write_text("")
    with pytest.raises(ConfigError, match=r"ALTO_VAR=.*: cannot be written \(.*\); set ALTO_VAR to a folder"):
        running(a_system(tmp_path / place, 7000)).__enter__()


def test_a_file_that_was_left_behind_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    script = KILLED.format(var=str(tmp_path / "here"))
    ended = subprocess.run([sys.executable, "-c", script], env=env, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    left = system_in(Path("var"))
    assert isinstance(left, Left)
    assert attached().gateway_port == 8600
    assert f"var/{NAME} is of an `up` that was killed (process {left.pid})" in capsys.readouterr().err
    with kept(a_system(tmp_path / "here", 7000)) as before:
        assert before == Left(str(Path("var").resolve() / NAME), left.pid)
        assert attached().gateway_port == 7000
    assert system_in(Path("var")) is None
