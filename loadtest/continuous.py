"""The continuous benchmark: a few ratios of a quick `compare`, held against the table in docs/performance.md.

The table is the record: a figure beyond its tolerance fails the run, and only a commit that changes the table may
loosen it. Ratios within one run, so that another machine matters little.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from loadtest.machine import ROOT

TABLE = ROOT / "docs" / "performance.md"
_ROW = re.compile(r"^\| `(\w+)` \|.*\| ([0-9.]+) \| ([0-9.]+) \|$", re.MULTILINE)
RATE = "4"


class TableUnreadable(ValueError):
    """The table lacks a ratio that is measured, or has one that is not."""


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Of a `compare`: the lower the better, every one of them."""
    modes = {mode: found["rates"][RATE] for mode, found in result["modes"].items()}
    limit = {mode: found["rates"][RATE] for mode, found in result["limit"].items()}
    found = {f"{mode}_to_limit": modes[mode]["mean_s"] / limit[mode]["mean_s"] for mode in limit}
    found["verdict_first_to_limit_barrier"] = modes["verdict_first"]["mean_s"] / limit["barrier"]["mean_s"]
    found["verdict_first_to_langgraph"] = modes["verdict_first"]["mean_s"] / modes["langgraph"]["mean_s"]
    return found


def kept(table: Path = TABLE) -> dict[str, tuple[float, float]]:
    """By ratio: what was measured when the table was written, and the most that is tolerated."""
    rows = _ROW.findall(table.read_text(encoding="utf-8"))
    return {name: (float(measured), float(most)) for name, measured, most in rows}


def judged(measured: dict[str, float], known: dict[str, tuple[float, float]]) -> tuple[list[str], bool]:
    """A line for each ratio, and whether all are within their tolerance.

    Raises:
        TableUnreadable: the table and what is measured name different ratios.
    """
    if measured.keys() != known.keys():
        odd = ", ".join(sorted(measured.keys() ^ known.keys()))
        raise TableUnreadable(f"{TABLE}: the continuous benchmark's table and what is measured differ in: {odd}")
    lines, fine = [], True
    for name, value in measured.items():
        before, most = known[name]
        is_fine = value <= most
        fine = fine and is_fine
        lines.append(
            f"{name:32s} {value:6.3f}  kept {before:6.3f}  at most {most:6.3f}  {'' if is_fine else 'TOO HIGH'}"
        )
    lost = ", ".join(name for name, value in measured.items() if value > known[name][1])
    return [line.rstrip() for line in lines] + ([f"beyond its tolerance: {lost}"] if lost else []), fine
