"""The system that is broken on purpose: Apache Kafka, and everything else as `alto-streams up` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from alto_streams.local.cluster import Cluster, local_cluster
from alto_streams.local.ports import free_ports
from alto_streams.local.supervisor import State, Supervisor
from alto_streams.pipeline import load_pipelines
from alto_streams.settings import Settings
from alto_streams.topics import load_topics
from loadtest.chaos_plan import Role, role_of
from loadtest.kafka import Kafka
from loadtest.servers import HOST, Server

PIPELINES = ["alto_streams.pipelines.factcheck"]
BACK_S = 90.0
SOUND_AFTER_S = 1.0  # deaths that are dealt out are no sign of a part that cannot live

Say = Callable[[str], None]


class Broken(Exception):
    """The system did not come back: names the part."""


class ChaosSystem:
    """A running system whose parts can be killed, paused and waited for."""

    def __init__(
        self, kafka: Server, cluster: Cluster, supervisor: Supervisor, ready: dict[str, asyncio.Event]
    ) -> None:
        self.kafka, self.cluster, self._supervisor, self._ready = kafka, cluster, supervisor, ready
        self._paused: set[int] = set()

    @property
    def parts(self) -> dict[Role, list[str]]:
        """The names of the parts of each role."""
        found: dict[Role, list[str]] = {role: [] for role in Role}
        for part in self.cluster.parts:
            if (role := role_of(part.name)) is not None:
                found[role].append(part.name)
        return found

    async def wait_ready(self, part: str) -> None:
        """Until a part serves. Raises `Broken`."""
        try:
            await asyncio.wait_for(self._ready[part].wait(), BACK_S)
        except TimeoutError:
            raise Broken(f"{part} did not come back within {BACK_S:g} s") from None

    async def wait_all_ready(self) -> None:
        """Until every part serves. Raises `Broken`."""
        for part in self._ready:
            await self.wait_ready(part)

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send a part a signal."""
        pid = self._supervisor.pids[part]
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._ready[part].clear()
        os.kill(pid, number)

    async def pause(self, part: str, pause_s: float) -> None:
        """Stop a part and wake it again, also when this is cancelled."""
        pid = self._supervisor.pids[part]
        self._paused.add(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(pause_s)
        finally:
            self.wake(pid)

    def wake(self, pid: int) -> None:
        """Let a paused process go on, if it is there still."""
        self._paused.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def wake_all(self) -> None:
        """Leave nothing paused: it could not be stopped in order."""
        for pid in list(self._paused):
            self.wake(pid)

    async def restart_broker(self, kill: bool) -> None:
        """Stop Apache Kafka, or kill it, and start it again on what it has on its disk."""
        await asyncio.to_thread(self.kafka.kill if kill else self.kafka.stop)
        await asyncio.to_thread(self.kafka.start)

    async def failed(self) -> None:
        """Returns never; raises what the supervisor gave up for."""
        await self._supervisor.wait()


@asynccontextmanager
async def chaos_system(
    folder: Path, recording: Path, session_s: float, workers: int, say: Say
) -> AsyncIterator[ChaosSystem]:
    """Everything, started; and stopped on the way out, however that comes.

    Raises:
        Unavailable: this machine cannot run Apache Kafka.
        PartFailed, ConfigError, PartDown: a part did not start.
    """
    kafka = await asyncio.to_thread(Kafka, folder / "kafka")
    try:
        await asyncio.to_thread(kafka.start)
        say(f"Apache Kafka is up at {kafka.url}")
        cluster = _cluster(folder, kafka.url, recording, session_s, workers)
        ready = {part.name: asyncio.Event() for part in cluster.parts if part.command}
        began = time.monotonic()

        def progress(part: str, state: State, seconds: float) -> None:
            if part not in ready:
                return
            if state is State.READY:
                ready[part].set()
            elif state is State.DIED:
                ready[part].clear()

        supervisor = Supervisor(cluster.parts, folder / "logs", progress, sound_after_s=SOUND_AFTER_S)
        async with supervisor:
            say(f"{len(cluster.parts)} parts are up after {time.monotonic() - began:.1f} s; logs in {folder / 'logs'}")
            system = ChaosSystem(kafka, cluster, supervisor, ready)
            try:
                yield system
            finally:
                system.wake_all()
    finally:
        await asyncio.shield(asyncio.to_thread(kafka.kill))


def _cluster(folder: Path, broker: str, recording: Path, session_s: float, workers: int) -> Cluster:
    engine = f"scripted:{recording}?timing=reference"
    redis, gateway = free_ports(2)
    config = Settings(
        _env_file=None,  # type: ignore[call-arg]
        broker=broker,
        redis=f"redis://{HOST}:{redis}/0",
        gateway_port=gateway,
        var=folder / "var",
        models={"chat": engine, "judge": engine},
        pipelines=PIPELINES,
        session_timeout_s=session_s,
        silence_s=session_s + 4.0,
    )
    return local_cluster(
        config,
        load_pipelines(config.pipelines),
        load_topics(),
        own_broker=False,
        workers=workers,
        gateways=2,
    )
