"""Engine servers that tests start, kill and start again: the local model's, and vLLM's with the same weights."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from alto_streams.worker.tcp_ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
VLLM = Path(os.environ.get("ALTO_TEST_VLLM", ROOT / ".cache" / "vllm"))
READY_S = 600.0  # compiling takes minutes on a busy machine
VLLM_SEQUENCES, VLLM_TAKEN = 20, 40  # calls that it runs at once, and that it takes
_SETTINGS = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
_RUNNING = re.compile(r"^vllm:num_requests_running\{[^}]*\} (\S+)$", re.MULTILINE)


class EngineServer:
    """A server of a command, on one port however often it is started. `root`: its address without `/v1`."""

    def __init__(
        self, command: Callable[[int], list[str]], log: Path, environment: dict[str, str] | None = None
    ) -> None:
        (self._port,) = free_ports(1)
        self._command, self._log = command(self._port), log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.root = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it takes calls."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        until_s = time.monotonic() + READY_S
        while not self._answers():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
            if self._process.poll() is not None or time.monotonic() > until_s:
                said = self._log.read_text()[-2000:]
                raise AssertionError(f"the server does not come up (status {self._process.poll()}); it says: …{said}")

    def kill(self) -> None:
        """End it and its children at once, as a machine does that goes out."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.root}/health", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def local_server(folder: Path) -> EngineServer:
    """The local model's, by the command that users start."""
    command = [sys.executable, "-m", "alto_streams.models.local", "--port"]
    return EngineServer(lambda port: [*command, str(port)], folder / "local.log")


def vllm_server(folder: Path) -> EngineServer:
    """vLLM's, which refuses calls beyond so many that run or wait."""
    # 32 bits: with 16 a token that is read again with a prefix is not quite the one that was written. Eager: compiling
    # takes minutes at each start, and the tests kill it.
    given = "--served-model-name smollm2 --max-model-len 2048 --dtype float32 --enforce-eager --enable-prefix-caching"
    given += f" --enable-prompt-tokens-details --max-num-seqs {VLLM_SEQUENCES} --max-num-queued-reqs {VLLM_TAKEN}"
    command = [str(VLLM / "venv" / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(VLLM / "smollm2"), *given.split(), "--host", "127.0.0.1", "--port"]
    return EngineServer(lambda port: [*command, str(port)], folder / "vllm.log", _SETTINGS)


async def running_in_llama(client: httpx.AsyncClient, root: str) -> int:
    """How many calls llama.cpp's server runs, by its own word."""
    slots = (await client.get(f"{root}/slots")).json()
    return sum(bool(slot["is_processing"]) for slot in slots)


async def running_in_vllm(client: httpx.AsyncClient, root: str) -> int:
    """How many calls vLLM's server runs, by its own word."""
    found = _RUNNING.search((await client.get(f"{root}/metrics")).text)
    assert found is not None
    return int(float(found[1]))
