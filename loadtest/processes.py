"""The processor time and the memory of processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time of each process since its start, in seconds (to 10 ms)."""
    found = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def resident_kib(pids: Mapping[str, int]) -> dict[str, int]:
    """The resident memory of each process, in KiB."""
    return {name: _status(pid, "VmRSS") for name, pid in pids.items()}


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def spent_s(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each process used between two looks."""
    return {name: after[name] - before[name] for name in before if name in after}
