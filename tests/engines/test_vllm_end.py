"""How vLLM's core in the worker ends: drained when the worker closes it, and not left behind when that is killed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.engines.servers import ROOT
from tests.engines.subjects import NAMES
from tests.unit.engine_servers import until

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here"),
    pytest.mark.skipif("vllm" not in NAMES, reason="ALTO_TEST_ENGINES does not name vllm"),
    pytest.mark.timeout(900),
]

WORKER = """
import asyncio, time
from alto_streams.errors import EngineUnavailable
from tests.engines.in_process import InProcess
from tests.unit.engines import ask

async def run(engine, begun):
    try:
        async for piece in engine.generate(ask("Tell a long story.", 1000)):
            begun.set()
    except EngineUnavailable as error:
        return error.cause

async def main():
    here, begun = InProcess(), asyncio.Event()
    await here.up()
    run_ = asyncio.create_task(run(here.engine, begun))
    await begun.wait()
    print("begun", flush=True)
    await asyncio.to_thread(input)
    at = time.monotonic()
    await here.engine.close()
    print(await run_, round(time.monotonic() - at, 1), flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


def below(pid: int) -> set[int]:
    """The processes that descend from this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, more = set[int](), {pid}
    while more := {child for child, parent in parents.items() if parent in more} - found:
        found |= more
    return found


def left_of(pids: set[int]) -> set[int]:
    """Those that still run, and are no mere entries in the table of processes."""
    found = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.add(pid)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("end", ["close", "kill"])
async def test_no_process_is_left(tmp_path: Path, end: str) -> None:
    script, log = tmp_path / "worker.py", tmp_path / "worker.log"
    script.write_text(WORKER)
    pipe = asyncio.subprocess.PIPE
    with log.open("wb") as errors:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, str(script)),
            stdin=pipe,
            stdout=pipe,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert worker.stdin is not None
    assert worker.stdout is not None
    while (line := await worker.stdout.readline()).strip() != b"begun":  # vLLM prints there as well
        assert line, log.read_text()[-2000:]
    children = below(worker.pid)
    try:
        assert len(children) >= 2  # the core, and its own
        if end == "close":
            worker.stdin.write(b"\n")
            told = (await worker.stdout.read()).decode().split()
            assert told[-2] == "closed"
            assert float(told[-1]) < 10
        else:
            worker.kill()
        await until(lambda: not left_of(children), "all of its processes have ended", 30)
    finally:
        for pid in left_of(children):
            os.kill(pid, signal.SIGKILL)
        await worker.communicate()
