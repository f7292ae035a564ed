"""The system that is broken on purpose: Apache Kafka, and everything else as `alto-streams up` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from alto_streams.local.supervisor import State
from loadtest.chaos_plan import Role, role_of
from loadtest.systems import Care, System, system

PIPELINE = "alto_streams.pipelines.factcheck"
SILENCE_BEYOND_S = 4.0  # of the session: a run that is silent for longer has died, or its worker has
BACK_S = 90.0
SOUND_AFTER_S = 1.0  # deaths that are dealt out are no sign of a part that cannot live

Say = Callable[[str], None]


class Broken(Exception):
    """The system did not come back: names the part."""


class ChaosSystem:
    """A running system whose parts can be killed, paused and waited for."""

    def __init__(self, running: System, ready: Mapping[str, asyncio.Event]) -> None:
        self.running, self._supervisor, self._ready = running, running.supervisor, ready
        self._paused: set[int] = set()

    @property
    def parts(self) -> dict[Role, list[str]]:
        """The names of the parts of each role."""
        found: dict[Role, list[str]] = {role: [] for role in Role}
        for part in self._supervisor.pids:
            found[role_of(part)].append(part)
        return found

    async def wait_ready(self, part: str) -> None:
        """Until a part serves. Raises `Broken`."""
        try:
            await asyncio.wait_for(self._ready[part].wait(), BACK_S)
        except TimeoutError:
            raise Broken(f"{part} did not come back within {BACK_S:g} s") from None

    async def wait_all_ready(self) -> None:
        """Until every part serves. Raises `Broken`."""
        for part in list(self._ready):
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
        kafka = self.running.kafka
        await asyncio.to_thread(kafka.kill if kill else kafka.stop)
        await asyncio.to_thread(kafka.start)

    async def restart_redis(self) -> None:
        """Kill Redis, which forgets everything, and start it again."""
        await asyncio.to_thread(self.running.valkey.kill)
        await asyncio.to_thread(self.running.valkey.start)

    async def failed(self) -> None:
        """Returns never; raises what the supervisor gave up for."""
        await self._supervisor.wait()


@asynccontextmanager
async def chaos_system(
    folder: Path, recording: Path, session_s: float, workers: int, say: Say
) -> AsyncIterator[ChaosSystem]:
    """Everything, with two gateways, started; and stopped on the way out, however that comes.

    Raises as `systems.system`.
    """
    engine = f"scripted:{recording}?timing=reference"
    ready: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
    began = time.monotonic()

    def progress(part: str, state: State, seconds: float) -> None:
        if state is State.READY:
            ready[part].set()
        elif state is State.DIED:
            ready[part].clear()

    async with system(
        folder,
        PIPELINE,
        {"chat": engine, "judge": engine},
        Care(2, progress, SOUND_AFTER_S),
        workers=workers,
        session_timeout_s=session_s,
        silence_s=session_s + SILENCE_BEYOND_S,
    ) as running:
        say(f"all parts are up after {time.monotonic() - began:.1f} s; their logs are in {folder / 'logs'}")
        broken = ChaosSystem(running, ready)
        try:
            yield broken
        finally:
            broken.wake_all()
