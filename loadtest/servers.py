"""A server as a plain process of its own: started until it answers, stopped, killed, started again on the same port.

All calls block; asynchronous callers make them in a thread.
"""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from alto_streams.local import ping
from alto_streams.worker.tcp_ports import free_ports

HOST = "127.0.0.1"
START_S, STOP_S = 60.0, 20.0


class Server(ABC):
    """A server process on a port of its own, with its log in `folder`."""

    scheme = "tcp"

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.port = free_ports(1)[0]
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Raises `RuntimeError` if it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def ready(self) -> bool: ...

    def start(self) -> None:
        """Start and wait until it answers in its own protocol; raises `RuntimeError` with the end of its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        if not ping.wait_until(lambda: not self.alive or self.ready(), START_S) or not self.alive:
            self.kill()
            raise RuntimeError(f"{self.name} at {self.url} did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
