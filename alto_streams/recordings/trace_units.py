"""In which unit the timestamps of a trace are: told, or found by what the trace would be in each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from alto_streams.errors import ConfigError

EPOCH = 1e9  # a first timestamp from here on counts since 1970; in seconds that is 2001
# The mean gap between requests. One below 2 would be over 500 requests a second if it were milliseconds, so it is
# seconds; one from 50 on about a request a minute if it were seconds, so milliseconds. Between them either is likely.
SURELY_S, SURELY_MS = 2.0, 50.0


class Unit(StrEnum):
    """Of timestamps."""

    AUTO = "auto"
    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"

    @property
    def ms(self) -> float:
        """How many milliseconds one is."""
        return {Unit.S: 1e3, Unit.MS: 1.0, Unit.US: 1e-3, Unit.NS: 1e-6}[self]


def unit_of(timestamps: Sequence[float], source: str) -> Unit:
    """The unit that these are in, by their size and by the gaps between them.

    Raises:
        ConfigError: two units are as likely; says what the trace would be in each.
    """
    first, last = min(timestamps), max(timestamps)
    if first >= EPOCH:
        bounds = {EPOCH * 1e2: Unit.S, EPOCH * 1e5: Unit.MS, EPOCH * 1e8: Unit.US}
        return next((unit for bound, unit in bounds.items() if first < bound), Unit.NS)
    gap = (last - first) / max(1, len(timestamps) - 1)
    if gap == 0 or gap >= SURELY_MS:
        return Unit.MS
    if gap < SURELY_S:
        return Unit.S
    raise ConfigError(
        f"{source}: {len(timestamps)} requests from {first:g} to {last:g}: in seconds {1 / gap:.3g} a second, in "
        f"milliseconds {1000 / gap:.3g} a second; say which it is: --unit s or --unit ms"
    )
