"""The supervisor's side of the nursery: workers as forks of one process that has imported what they need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

DIED = "the process that forks workers has died; see nursery.log"
COMMAND = (sys.executable, "-m", "alto_streams")


def is_fork(command: Sequence[str]) -> bool:
    """Whether a command is one of ours, which the nursery can start."""
    return tuple(command[: len(COMMAND)]) == COMMAND


class Fork:
    """One forked process, as far as the supervisor needs it: like `asyncio.subprocess.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative for a signal."""
        return await asyncio.shield(self._ended)

    def end(self, code: int) -> None:
        """It has ended."""
        if not self._ended.done():
            self._ended.set_result(code)


class Nursery:
    """Starts forks; begun at the first one."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting: deque[asyncio.Future[Fork]] = deque()
        self._forks: dict[int, Fork] = {}
        self._begin = asyncio.Lock()

    async def start(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> Fork:
        """Fork a worker. Raises `OSError` if the nursery itself has died."""
        async with self._begin:
            if self._process is None:
                await self._open(env, log.with_name("nursery.log"))
        if self._process is None or self._process.stdin is None or self._reading is None or self._reading.done():
            raise OSError(DIED)
        started: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        self._starting.append(started)
        wanted = {"name": name, "arguments": list(command[len(COMMAND) :]), "env": dict(env), "log": str(log)}
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        await self._process.stdin.drain()
        return await started

    async def close(self) -> None:
        """End the nursery; its forks are ended by whoever started them."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        if self._reading is not None:
            await self._reading

    async def _open(self, env: Mapping[str, str], log: Path) -> None:
        pipelines = {key: value for key, value in env.items() if key == "ALTO_PIPELINES"}
        with log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "alto_streams.cli.nursery"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **pipelines},
                process_group=0,
            )
        self._reading = asyncio.get_running_loop().create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        while process.stdout is not None and (line := await process.stdout.readline()):
            said = json.loads(line)
            if "started" in said:
                fork = self._forks[said["started"]] = Fork(said["started"])
                if not (waiting := self._starting.popleft()).done():
                    waiting.set_result(fork)
            elif (ended := self._forks.pop(said["ended"], None)) is not None:
                ended.end(said["code"])
        for waiting in self._starting:
            if not waiting.done():
                waiting.set_exception(OSError(DIED))
        for fork in self._forks.values():
            fork.end(-9)  # nobody can tell any more: treated as killed, and its group is ended
