"""What a running system costs this machine: its processes, their memory, and their processor time, from /proc."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SETTLE_S, MEASURE_S = 5.0, 10.0
WORKER = "alto "  # how the nursery names its forks


@dataclass(frozen=True, slots=True)
class Footprint:
    """`memory_kib`: a page that several share counts once, divided among them. `cpu_s`: user and system, so far."""

    processes: int
    workers: int
    memory_kib: int
    cpu_s: float


def footprint(root: int | None = None) -> Footprint:
    """Of a process (by default this one) and all that descends from it."""
    found = _family(os.getpid() if root is None else root)
    names, memory_kib, cpu_s = list[str](), 0, 0.0
    for pid in found:
        with contextlib.suppress(OSError, ValueError, StopIteration):  # ended meanwhile
            place = Path(f"/proc/{pid}")
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            names.append((place / "comm").read_text().strip())
            cpu_s += (int(fields[11]) + int(fields[12])) / TICKS
            rollup = (place / "smaps_rollup").read_text().splitlines()
            memory_kib += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return Footprint(len(names), sum(name.startswith(WORKER) for name in names), memory_kib, cpu_s)


def told(before: Footprint, after: Footprint, seconds: float) -> str:
    """One line: what there is, and what it used between two looks."""
    share = (after.cpu_s - before.cpu_s) / seconds
    return (
        f"uses     {after.workers} workers, {after.processes} processes, {after.memory_kib / 1_048_576:.1f} GiB of"
        f" memory, and {share:.0%} of a core in the last {seconds:.0f} s"
    )


@asynccontextmanager
async def telling_use(say: Callable[[str], object]) -> AsyncIterator[None]:
    """Says once, when the start is over, what the system of this process uses."""

    async def measure() -> None:
        await asyncio.sleep(SETTLE_S)
        before = await asyncio.to_thread(footprint)
        await asyncio.sleep(MEASURE_S)
        say(told(before, await asyncio.to_thread(footprint), MEASURE_S))

    telling = asyncio.create_task(measure())
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def _family(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found, waiting = list[int](), [root]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += children.get(each, [])
    return found
