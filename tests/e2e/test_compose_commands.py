"""Every command of docker-compose.yml as a plain process, with its own environment and its own health check.

Host names become the loopback address and ports become free ones; nothing else is changed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from alto_streams.local import ping
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, ROOT, Server

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
BIN = Path(sys.executable).parent
HEALTHY_S, ENDED_S = 200.0, 60.0


class Local:
    """Rewrites what a container would be given into what a process on this machine can use."""

    def __init__(self, kafka: Server, redis: Server) -> None:
        self.engine, self.gateway = free_ports(2)
        self._hosts = {
            "kafka:9092": f"{HOST}:{kafka.port}",
            "redis:6379": f"{HOST}:{redis.port}",
            "engine:8620": f"{HOST}:{self.engine}",
        }

    def environment(self, service: dict[str, Any], worker_port: int, folder: Path) -> dict[str, str]:
        given = {name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)) for name, value in service["environment"].items()}
        for inside, here in self._hosts.items():
            given = {name: value.replace(inside, here) for name, value in given.items()}
        here = {"ALTO_HOST": HOST, "ALTO_WORKER_PORT": str(worker_port), "ALTO_GATEWAY_PORT": str(self.gateway)}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ALTO_")}
        return {**clean, **given, **here, "ALTO_VAR": str(folder), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def arguments(self, words: list[str], worker_port: int) -> list[str]:
        ports = {"6066": str(worker_port), "8600": str(self.gateway), "8620": str(self.engine), "0.0.0.0": HOST}  # noqa: S104
        # a word is a port, or the code of a health check with the port in its URL
        return [re.sub("|".join(re.escape(port) for port in ports), lambda hit: ports[hit[0]], word) for word in words]


class Part:
    """One service as a process."""

    def __init__(self, name: str, local: Local, folder: Path) -> None:
        self.name, self.folder = name, folder
        service, (port,) = OURS[name], free_ports(1)
        self.log = folder / f"{name}.log"
        self.environment = local.environment(service, port, folder / name)
        self.command = local.arguments(service["command"], port)
        self.check = local.arguments(service["healthcheck"].get("test", [])[1:], port)
        self.process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Part]:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield self
        finally:
            self.process.kill()
            self.process.wait()

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.said()}"
        done = subprocess.run(self.check, env=self.environment, capture_output=True, timeout=HEALTHY_S)
        return done.returncode == 0

    def said(self) -> str:
        return self.log.read_text()[-3000:]


def test_every_command_runs_and_becomes_healthy(kafka: Server, redis: Server, tmp_path: Path) -> None:
    local = Local(kafka, redis)
    topics = Part("topics", local, tmp_path)
    with topics.running() as once:
        assert once.process is not None
        assert once.process.wait(ENDED_S) == 0, topics.said()
    parts = [Part(name, local, tmp_path) for name in OURS if name != "topics"]
    assert len(parts) == 12
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(part.running())
        end = time.monotonic() + HEALTHY_S
        for part in parts:
            assert ping.wait_until(part.healthy, end - time.monotonic()), f"{part.name} not healthy:\n{part.said()}"
        # a container is stopped by SIGTERM
        for part in parts:
            assert part.process is not None
            part.process.send_signal(signal.SIGTERM)
        codes = {part.name: part.process.wait(ENDED_S) for part in parts if part.process}
    assert set(codes.values()) == {0}, codes
