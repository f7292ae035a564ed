"""Workers as forks of one process: what they say, how they end, and that none is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alto_streams import __version__
from alto_streams.local import guard
from alto_streams.local.children import ChildProcess, Children
from alto_streams.local.forks import COMMAND


@pytest.fixture
async def children(tmp_path: Path) -> AsyncIterator[Children]:
    running = Children(tmp_path)
    running.open()
    yield running
    await running.close()


async def test_a_fork_runs_its_command_and_ends_with_its_code(children: Children) -> None:
    version = await children.start("version", [*COMMAND, "--version"], {})
    wrong = await children.start("wrong", [*COMMAND, "worker", "nonsense"], {})
    assert await asyncio.wait_for(children.reap(version), 120) == 0
    assert await asyncio.wait_for(children.reap(wrong), 120) == 2
    assert version.tail() == f"alto-streams {__version__}"
    assert "no stage 'nonsense'" in wrong.tail()


async def test_each_fork_has_the_environment_it_was_given(children: Children) -> None:
    bad = await children.start("bad", [*COMMAND, "worker", "claims"], {"ALTO_ENGINE_SLOTS": "many"})
    good = await children.start("good", [*COMMAND, "--version"], {})
    assert await asyncio.wait_for(children.reap(bad), 120) == 2
    assert await asyncio.wait_for(children.reap(good), 120) == 0
    assert "ALTO_ENGINE_SLOTS" in bad.tail()


@pytest.mark.parametrize("printed", ["hello", '{"started": 1}'])
async def test_what_a_module_prints_when_it_is_imported_is_no_answer(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    (tmp_path / "talkative.py").write_text(f"print({printed!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    env = {"ALTO_PIPELINES": "talkative:pipeline"}
    version = await children.start("version", [*COMMAND, "--version"], env)
    assert await asyncio.wait_for(children.reap(version), 120) == 0
    assert version.tail() == f"alto-streams {__version__}"
    assert (tmp_path / "nursery.log").read_text() == f"{printed}\n"


async def test_a_fork_leads_a_group_that_ends_with_it(children: Children) -> None:
    # No broker is there, so the worker waits for one.
    env = {"ALTO_BROKER": "kafka://127.0.0.1:9", "ALTO_WORKER_PORT": "0"}
    waiting = await children.start("waiting", [*COMMAND, "worker", "--egress"], env)
    assert os.getpgid(waiting.pid) == waiting.pid
    waiting.kill()
    assert await asyncio.wait_for(children.reap(waiting), 120) == -signal.SIGKILL
    assert not guard.signal_group(waiting.pid, 0)


async def test_forks_of_a_nursery_that_was_killed_count_as_killed(children: Children) -> None:
    env = {"ALTO_BROKER": "kafka://127.0.0.1:9", "ALTO_WORKER_PORT": "0"}
    orphan: ChildProcess = await children.start("orphan", [*COMMAND, "worker", "--egress"], env)
    nursery = children._nursery._process
    assert nursery is not None
    nursery.kill()
    assert await asyncio.wait_for(children.reap(orphan), 120) == -signal.SIGKILL
    with pytest.raises(OSError, match="died"):
        await children.start("next", [*COMMAND, "--version"], {})
