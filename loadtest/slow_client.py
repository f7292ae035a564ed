"""What a client costs the others that reads ten times slower than its events come: memory, and their latency.

One system on Apache Kafka with scripted engines of the reference timing. One client keeps asking for long answers and
follows all of them; the others ask for short ones, at Poisson instants. The same load runs three times, by the same
seed: in the first and the last phase the one client reads as its events come, in the middle one ten times slower.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from alto_streams.client import Client
from alto_streams.errors import PartDown, ProblemError
from alto_streams.wire.records import EventKind
from loadtest import long_answers
from loadtest.kafka import kafka_version
from loadtest.machine import commit, machine
from loadtest.processes import resident_kib
from loadtest.samples import Sample, figures
from loadtest.systems import System, system
from loadtest.throttled import Reading, read_events

SLOWER = 10.0
SAMPLE_S = 0.5
ENDED_S = 60.0
BROKER = "kafka"  # its heap grows as it likes: shown, but not summed up
SHORT_WORDS = (20, 100)
SLOTS = 64

Memory = dict[str, int]  # of each process, in KiB


class SlowClientFailed(Exception):
    """The benchmark could not be carried out; says what did not happen."""


@dataclass(frozen=True, slots=True)
class Options:
    """`phase_s`: of each of the three. `rate`: short answers a second. A long one of so many words every `long_s`."""

    phase_s: float = 120.0
    warm_up_s: float = 15.0
    rate: float = 4.0
    long_words: int = 1_500
    long_s: float = 5.0
    seed: int = 1


QUICK = Options(phase_s=11.0, warm_up_s=3.0, long_words=600, long_s=2.0)


@dataclass(slots=True)
class Phase:
    """What one phase gave: the others' requests, the memory over time, and what the one client read."""

    samples: list[Sample] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    def byte_rate(self) -> float:
        """How fast a long answer was read while it was read, in bytes a second.

        Raises:
            SlowClientFailed: nothing of any was read.
        """
        seconds = sum(each.seconds for each in self.readings)
        if not seconds:
            raise SlowClientFailed("nothing of any long answer was read: the phase is too short")
        return sum(each.bytes for each in self.readings) / seconds


def measure(options: Options) -> dict[str, Any]:
    """The memory of every process in MiB with the slow client, and the others' latencies without and with it.

    Raises:
        SlowClientFailed: a request did not end well, or no long answer ended.
        Unavailable: this machine cannot run Apache Kafka.
    """
    with tempfile.TemporaryDirectory(prefix="alto-slow-client-", ignore_cleanup_errors=True) as name:
        before = machine()
        first, slow, last = asyncio.run(_run(Path(name), options))
    return {
        **report([first, last], slow),
        "broker": f"Apache Kafka {kafka_version()}",
        "machine": before,
        "commit": commit(),
        "settings": asdict(options) | {"slower": SLOWER},
    }


def report(prompt: Sequence[Phase], slow: Phase) -> dict[str, Any]:
    """The figures of the phases. `grown_mib`: the most that the parts together, without the broker, ever had more
    than when the phase began; `p99_ratio`: of the others' latencies with the slow client to those without."""
    without, with_it = _latencies(prompt), _latencies([slow])
    came = sum(phase.byte_rate() for phase in prompt) / len(prompt)
    return {
        "grown_mib": grown_mib(slow.memory),
        "grown_mib_without": [grown_mib(phase.memory) for phase in prompt],
        "grown_mib_by_part": grown_by_part_mib(slow.memory),
        "grown_mib_by_part_without": [grown_by_part_mib(phase.memory) for phase in prompt],
        "p99_ratio": round(with_it["p99_s"] / without["p99_s"], 4),
        "without": without,
        "with": with_it,
        "slow_client": {
            "streams": len(slow.readings),
            "events_come_bytes_per_s": round(came),
            "it_reads_bytes_per_s": round(slow.byte_rate()),
            "read_to_the_end": sum(each.whole for each in slow.readings),
        },
    }


def grown_mib(memory: Sequence[Memory]) -> float:
    """The most that all parts together, apart from the broker, had more than in the beginning."""
    sums = [sum(kib for part, kib in each.items() if part != BROKER) for each in memory]
    return round((max(sums) - sums[0]) / 1024, 2)


def grown_by_part_mib(memory: Sequence[Memory]) -> dict[str, float]:
    """The same of each part, the one that grew most in front."""
    grown = {part: round((max(each[part] for each in memory) - memory[0][part]) / 1024, 2) for part in memory[0]}
    return dict(sorted(grown.items(), key=lambda each: -each[1]))


def _latencies(phases: Sequence[Phase]) -> dict[str, Any]:
    found = figures([phase.samples for phase in phases], "stream").as_json()
    return {name: found[name] for name in ("n", "mean_s", "p50_s", "p99_s", "ttft_s", "errors", "late_p99_s")}


def arrivals(rate: float, seconds: float, seed: int) -> list[tuple[float, int]]:
    """When each short answer is asked for, and how many words it has."""
    rng = random.Random(seed)
    instants = accumulate(rng.expovariate(rate) for _ in range(int(2 * rate * seconds) + 20))
    return [(at, rng.randint(*SHORT_WORDS)) for at in instants if at < seconds]


async def _run(folder: Path, options: Options) -> tuple[Phase, Phase, Phase]:
    (folder / "recording").write_text("its pipeline knows it\n")
    models = {long_answers.MODEL: f"scripted:{folder / 'recording'}?timing=reference"}
    async with (
        system(folder, "loadtest.long_answers", models, workers=1, engine_slots=SLOTS) as running,
        Client([running.gateway]) as client,
    ):
        load = Load(running, client, options)
        await load.phase(options.warm_up_s, None)
        first = await load.phase(options.phase_s, None)
        slow = await load.phase(options.phase_s, first.byte_rate() / SLOWER)
        return first, slow, await load.phase(options.phase_s, None)


class Load:
    """The same requests in every phase, with the same instants, and with the one client at another pace."""

    def __init__(self, running: System, client: Client, options: Options) -> None:
        self._running, self._client, self._options = running, client, options

    async def phase(self, seconds: float, pace: float | None) -> Phase:
        """Runs the load for so long. `pace`: bytes a second that the one client reads of each stream."""
        found, began_s = Phase(), time.monotonic()
        short = arrivals(self._options.rate, seconds, self._options.seed)
        long = [at * self._options.long_s for at in range(int(seconds / self._options.long_s))]
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(found.memory))
            following = [group.create_task(self._long(began_s + at, pace, found.readings)) for at in long]
            asking = [group.create_task(self._short(at, words, began_s, found.samples)) for at, words in short]
            await asyncio.sleep(began_s + seconds - time.monotonic())
            await asyncio.wait(asking)
            for task in (watching, *following):
                task.cancel()
        return found

    async def _watch(self, memory: list[Memory]) -> None:
        """Until it is cancelled."""
        pids = self._running.supervisor.pids
        pids |= {"redis": self._running.valkey.pid, BROKER: self._running.kafka.pid}
        while True:
            memory.append(resident_kib(pids))
            await asyncio.sleep(SAMPLE_S)

    async def _long(self, at_s: float, pace: float | None, readings: list[Reading]) -> None:
        """Follows one long answer; it is cancelled when the phase is over before it ends."""
        await asyncio.sleep(at_s - time.monotonic())
        name = long_answers.named(self._options.long_words, len(readings))
        request, reading = await self._client.submit(long_answers.pipeline.name, {"name": name}), Reading()
        readings.append(reading)
        try:
            await read_events(f"{self._running.gateway}/v1/requests/{request}/events", pace, reading)
        finally:
            if not reading.whole:
                with suppress(ProblemError, PartDown):  # it has ended already
                    await self._client.cancel(request)

    async def _short(self, at_s: float, words: int, began_s: float, samples: list[Sample]) -> None:
        """One request of the others, from its scheduled instant to its end."""
        await asyncio.sleep(began_s + at_s - time.monotonic())
        sample = Sample(str(words), at_s, time.monotonic() - began_s - at_s)
        samples.append(sample)
        request = await self._client.submit(long_answers.pipeline.name, {"name": long_answers.named(words, 0)})
        async with asyncio.timeout(ENDED_S):
            async for event in self._client.events(request):
                since_s = time.monotonic() - began_s - at_s
                if event.kind is EventKind.CHUNK and sample.ttft_s is None:
                    sample.ttft_s = since_s
                if event.kind is EventKind.DONE:
                    sample.done_s = since_s
                    if event.body["status"] != "ok":
                        raise SlowClientFailed(f"request {request} ended {event.body}")
