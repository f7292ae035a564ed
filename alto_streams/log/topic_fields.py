"""The forms of the fields in `topics.yaml`: names, durations, and the words allowed. Pure."""

from __future__ import annotations

import re

# `row` is (row key, group generation), see tables.merge; `plan` is what it is, and its model (topic_names.plan_key).
KEYS = ("request", "row", "worker", "plan", "none")
CLEANUPS = ("delete", "compact")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}


def named(name: object) -> bool:
    """Whether Kafka takes this as a topic's name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name not in (".", "..")


def duration(text: object) -> int | None:
    """Milliseconds of e.g. `10m`, `24h`, `14d`; None if it is none."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text) if isinstance(text, str) else None
    return int(match[1]) * _UNITS_MS[match[2]] if match else None


def duration_text(milliseconds: int) -> str:
    """The shortest text that `duration` reads back; whole seconds only."""
    unit = next(unit for unit, size in _UNITS_MS.items() if milliseconds % size == 0)
    return f"{milliseconds // _UNITS_MS[unit]}{unit}"
