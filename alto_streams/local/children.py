"""Child processes that cannot outlive their parent: each leads a process group that a guard process knows."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from alto_streams.local import guard
from alto_streams.local.forks import Fork, Nursery, is_fork

TAIL_BYTES = 4_000


class ChildProcess:
    """One running child. Its output goes to `log`; `tail` is the end of it, for error messages."""

    def __init__(self, process: asyncio.subprocess.Process | Fork, log: Path, start: int) -> None:
        self._process, self.log, self._start = process, log, start

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    def ask_to_end(self) -> None:
        guard.signal_group(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        guard.signal_group(self.pid, signal.SIGKILL)

    def tail(self, lines: int = 12) -> str:
        """The last lines that this child wrote."""
        size = self.log.stat().st_size
        with self.log.open("rb") as log:
            log.seek(max(self._start, size - TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


class Children:
    """Starts children, and ends them with itself: also when this process is killed."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._guard: subprocess.Popen[bytes] | None = None
        self._nursery = Nursery()

    def open(self) -> None:
        """Start the guard. In a group of its own: a Ctrl-C in the terminal must not reach it."""
        self._logs.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(  # noqa: S603  our own file
            [sys.executable, "-I", "-S", guard.__file__], stdin=subprocess.PIPE, process_group=0
        )

    async def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> ChildProcess:
        """Raises `OSError` if the command cannot be run."""
        path = self._logs / f"{name}.log"
        process: asyncio.subprocess.Process | Fork
        if is_fork(command):
            start = path.stat().st_size if path.exists() else 0
            process = await self._nursery.start(name, command, env, path.absolute())
            self._tell("+", process.pid)
            return ChildProcess(process, path, start)
        with path.open("ab") as log:
            start = log.tell()
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                process_group=0,
            )
        self._tell("+", process.pid)
        return ChildProcess(process, path, start)

    async def reap(self, child: ChildProcess) -> int:
        """Wait for its end, then end whatever it left running."""
        code = await child.wait()
        child.kill()
        self._tell("-", child.pid)
        return code

    async def close(self) -> None:
        """The guard ends what is left, which should be nothing, and then itself."""
        await self._nursery.close()
        if self._guard is None:
            return
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait(guard.GRACE_S + 5)
        self._guard = None

    def _tell(self, sign: str, group: int) -> None:
        if self._guard is None or self._guard.stdin is None:
            raise RuntimeError("children are started between open() and close()")
        try:
            self._guard.stdin.write(f"{sign}{group}\n".encode())
            self._guard.stdin.flush()
        except BrokenPipeError:  # somebody killed the guard; its loss must not stop the system
            return
