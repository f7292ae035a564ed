"""A small Gantt chart in text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the chart, in seconds since the submission."""

    name: str
    first_s: float
    last_s: float


def gantt(bars: Sequence[Bar], width: int) -> list[str]:
    """One line per bar, at most `width` characters each, all on the same scale, which starts at the submission."""
    if not bars:
        return []
    end_s = max(bar.last_s for bar in bars) or 1e-9
    label = max(len(bar.name) for bar in bars)
    room = max(10, width - label - len("  | 0000.00 - 0000.00 s"))
    lines = []
    for bar in bars:
        begin = min(room - 1, int(bar.first_s / end_s * room))
        stop = max(begin + 1, round(bar.last_s / end_s * room))
        drawn = " " * begin + "#" * (stop - begin)
        lines.append(f"{bar.name:<{label}} |{drawn:<{room}}| {bar.first_s:.2f} - {bar.last_s:.2f} s")
    return lines


def seconds(value: float | None) -> str:
    """A time, or a dash where there is none."""
    return "-" if value is None else f"{value:.2f} s"
