"""The knee: the highest offered rate that keeps a mean latency. Pure; what measures is given."""

from __future__ import annotations

import math
from collections.abc import Callable


class OutOfReach(ValueError):
    """The latency is exceeded at the lowest rate already, or not even at the highest."""


def throughput_at(measure: Callable[[float], float], mean_s: float, low: float, high: float, tolerance: float) -> float:
    """Requests a second at which `measure(rate)`, a mean latency in seconds, comes to `mean_s`.

    Halves [low, high] until it is no wider than `tolerance`, then takes the place between both last rates where a line
    between their latencies crosses `mean_s`: so noise of the measurement moves the result no further than that. A rate
    that overwhelms what is measured may give `inf`.

    Raises:
        OutOfReach: `mean_s` does not lie between the latencies at `low` and at `high`.
    """
    below, above = measure(low), measure(high)
    if below > mean_s:
        raise OutOfReach(f"the mean is {below:.2f} s at {low:g} requests/s, over {mean_s:g} s already")
    if not above > mean_s:
        raise OutOfReach(f"the mean is {above:.2f} s at {high:g} requests/s, not over {mean_s:g} s yet")
    for _ in range(_halvings(low, high, tolerance)):
        middle = (low + high) / 2
        found = measure(middle)
        if found > mean_s:
            high, above = middle, found
        else:
            low, below = middle, found
    if math.isinf(above):
        return low
    return low + (high - low) * (mean_s - below) / (above - below)


def measurements(low: float, high: float, tolerance: float) -> int:
    """How often `throughput_at` measures."""
    return 2 + _halvings(low, high, tolerance)


def _halvings(low: float, high: float, tolerance: float) -> int:
    if not (tolerance > 0 and low < high):
        raise ValueError(f"from {low:g} to {high:g} by {tolerance:g} is no range to search")
    return max(0, math.ceil(math.log2((high - low) / tolerance)))
