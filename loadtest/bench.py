"""The system under the reference workload: Apache Kafka, Valkey, gateway and workers, four engines that keep time.

A run at an offered rate is kept, so that whoever asks for another figure of it does not run it again.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from alto_streams.wire.records import Mode
from loadtest.drive import in_flight, offer
from loadtest.processes import cpu_s, resident_kib, spent_s
from loadtest.reference.pipeline import RECORDING
from loadtest.reference.workload import ReferenceRequest, load_workload
from loadtest.samples import Sample
from loadtest.systems import Care, System, system

ENGINES = 4
PARTITIONS = 4  # of each topic: a worker's fetch names them all, so more of them than engines only cost
WARM_UP_RATE, WARM_UP_SEED = 4.0, 1_000
MODEL = "lm"
ENGINE_CPU = re.compile(r"^alto_simulated_engine_cpu_seconds (\S+)$", re.MULTILINE)
Tick = Callable[[str], None]


@dataclass
class Bench:
    """A running system, and what was measured on it."""

    system: System
    rows: Sequence[ReferenceRequest]
    tick: Tick = lambda what: None
    _runs: dict[tuple[Mode, float, int, int], list[Sample]] = field(default_factory=dict)

    async def run(self, mode: Mode, rate: float, count: int, seed: int) -> list[Sample]:
        """`count` requests at `rate` a second."""
        key = mode, rate, count, seed
        if key not in self._runs:
            self.tick(f"{mode} {rate:g}/s, seed {seed}")
            self._runs[key] = await offer(self.system.gateway, self.rows, rate, count, seed, mode)
        return self._runs[key]

    async def runs(self, mode: Mode, rate: float, count: int, seeds: Sequence[int]) -> list[list[Sample]]:
        """The same for several seeds, one after the other."""
        return [await self.run(mode, rate, count, seed) for seed in seeds]

    async def closed(self, at_once: int, count: int, seed: int) -> list[Sample]:
        """`count` requests, always so many in flight."""
        self.tick(f"{at_once} in flight")
        return await in_flight(self.system.gateway, self.rows, at_once, count, seed)

    async def warm_up(self, count: int) -> None:
        """Broker and workers are slow at first."""
        self.tick("warm-up")
        await offer(self.system.gateway, self.rows, WARM_UP_RATE, count, WARM_UP_SEED, Mode.STREAM)

    @property
    def all_samples(self) -> list[Sample]:
        """Of every run."""
        return [sample for run in self._runs.values() for sample in run]

    def cpu_s(self) -> dict[str, float]:
        """Since its start, of each process: the project's by their names, `broker`, `redis` and `load` beside them."""
        others = {"broker": self.system.kafka.pid, "redis": self.system.valkey.pid, "load": os.getpid()}
        return cpu_s({**self.system.supervisor.pids, **others})

    def resident_kib(self) -> dict[str, int]:
        """Of each process of the project."""
        return resident_kib(self.system.supervisor.pids)

    async def engines_cpu_s(self) -> float:
        """What the simulated engines have used within the LM workers, by their own account."""
        addresses = [address for part, address in self.system.addresses.items() if part.startswith(f"lm-{MODEL}")]
        async with httpx.AsyncClient() as http:
            pages = [(await http.get(f"{address}/metrics")).text for address in addresses]
        return sum(float(found) for page in pages for found in ENGINE_CPU.findall(page))


@asynccontextmanager
async def bench(recording: Path, tick: Tick = lambda what: None) -> AsyncIterator[Bench]:
    """Starts the system; everything is stopped at the end.

    Raises:
        ConfigError: the recording cannot be read.
        Unavailable: this machine cannot run Apache Kafka.
        PartFailed: a part did not start.
    """
    rows, file = load_workload(recording), os.path.abspath(recording)  # noqa: ASYNC240
    os.environ[RECORDING] = file  # for the workers, which inherit it
    with tempfile.TemporaryDirectory(prefix="alto-bench-", ignore_cleanup_errors=True) as name:
        tick("starting")
        models = {MODEL: f"scripted:{file}?timing=reference"}
        care = Care(steady=True, partitions=PARTITIONS)
        async with system(
            Path(name), "loadtest.reference.pipeline", models, care, workers=1, lm_workers=ENGINES
        ) as running:
            yield Bench(running, rows, tick)


async def idle_cpu_s(bench: Bench, seconds: float) -> dict[str, float]:
    """What each process uses in a second when nothing is asked for."""
    bench.tick("idle")
    before = bench.cpu_s()
    await asyncio.sleep(seconds)
    return {name: used / seconds for name, used in spent_s(before, bench.cpu_s()).items()}
