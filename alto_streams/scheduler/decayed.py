"""Sums in which what is old counts less: half as much after each half-life. Plain structs, so that a table keeps them.

Means are quotients of two such sums, so time alone never changes them: what was learned holds until there is news.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from alto_streams.scheduling import ClassReport

BUCKET = math.log(1.15)  # each bucket of output lengths is so much wider than the last
FASTEST_S, SLOWEST_S, MOST_CALLS = 1e-6, 100.0, 1e5  # a token's time, and the calls of one engine: else it is an error
ODD = 4.0  # a call that is slower than its worker's mean by more counts as so much slower: it may be of two tokens
KNOWN_PACES = 10.0  # a worker that has been idle keeps the weight of so many calls


class ClassSums(msgspec.Struct, array_like=True):
    """Of one prompt class. `since_ms`: where its first report began. `seen`: calls ever, none forgotten.

    `outputs`: bucket of output lengths -> calls.
    """

    since_ms: int
    at_ms: int
    seen: int = 0
    arrived: float = 0.0
    ended: float = 0.0
    prompt: float = 0.0
    cached: float = 0.0
    output: float = 0.0
    first_token_s: float = 0.0
    call_s: float = 0.0
    prefix: float = 0.0
    outputs: dict[int, float] = {}

    def take(self, report: ClassReport, at_ms: int, span_s: float, half_life_s: float) -> None:
        """Add what a worker saw until `at_ms`; what is older than the newest counts less itself."""
        weight = 2.0 ** (-max(0, self.at_ms - at_ms) / 1000 / half_life_s)
        self._fade(2.0 ** (-max(0, at_ms - self.at_ms) / 1000 / half_life_s))
        self.at_ms = max(self.at_ms, at_ms)
        self.since_ms = min(self.since_ms, at_ms - int(span_s * 1000))
        self.seen += report.ended
        self.arrived += weight * report.arrived
        self.ended += weight * report.ended
        self.prompt += weight * report.prompt_tokens
        self.cached += weight * report.cached_tokens
        self.output += weight * sum(report.output_tokens)
        self.first_token_s += weight * report.first_token_s
        self.call_s += weight * report.call_s
        if report.ended:  # only calls can show that a prefix has become shorter
            self.prefix = max(report.cached_most, self.prefix * 2.0 ** (-span_s / (10 * half_life_s)))
        for tokens in report.output_tokens:
            bucket = int(math.log(max(1, tokens)) / BUCKET)
            self.outputs[bucket] = self.outputs.get(bucket, 0.0) + weight

    def _fade(self, factor: float) -> None:
        if factor == 1.0:
            return
        self.arrived *= factor
        self.ended *= factor
        self.prompt *= factor
        self.cached *= factor
        self.output *= factor
        self.first_token_s *= factor
        self.call_s *= factor
        most = max(self.outputs.values(), default=0.0)
        self.outputs = {b: n * factor for b, n in self.outputs.items() if n > 1e-4 * most}

    def rate(self, at_ms: int, half_life_s: float) -> float:
        """Calls a second, as of `at_ms`; in the beginning of the time that there has been."""
        fade = math.log(2.0) / half_life_s
        age_s = max(0, at_ms - self.at_ms) / 1000
        life_s = max(1.0, (max(at_ms, self.at_ms) - self.since_ms) / 1000)
        return self.arrived * math.exp(-fade * age_s) * fade / -math.expm1(-fade * life_s)

    def upper(self, quantile: float) -> float:
        """What so many of the outputs do not exceed, in tokens; 0 without any."""
        left = quantile * sum(self.outputs.values())
        for bucket in sorted(self.outputs):
            if left <= self.outputs[bucket]:
                return math.exp((bucket + left / self.outputs[bucket]) * BUCKET)
            left -= self.outputs[bucket]
        return math.exp((max(self.outputs) + 1) * BUCKET) if self.outputs else 0.0


class PaceSums(msgspec.Struct, array_like=True):
    """Of a worker's calls: how many ran beside each (x), and its seconds per token (y)."""

    at_ms: int
    count: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def take(self, paces: Sequence[tuple[float, float]], at_ms: int, half_life_s: float) -> None:
        fade = 2.0 ** (-max(0, at_ms - self.at_ms) / 1000 / half_life_s)
        if self.count * fade < KNOWN_PACES:
            fade = min(1.0, KNOWN_PACES / self.count) if self.count else 0.0
        self.at_ms = max(self.at_ms, at_ms)
        for name in ("count", "x", "y", "xx", "xy", "yy"):
            setattr(self, name, getattr(self, name) * fade)
        most = ODD * self.y / self.count if self.count >= KNOWN_PACES else SLOWEST_S
        for x, y in ((x, min(y, most)) for x, y in paces):
            if 0 <= x < MOST_CALLS and FASTEST_S < y <= SLOWEST_S:
                self.count += 1
                self.x += x
                self.y += y
                self.xx += x * x
                self.xy += x * y
                self.yy += y * y

    def scale(self, shape: float) -> tuple[float, float]:
        """The seconds per token that a call takes alone, if y = scale * (1 + shape * x), and the relative error."""
        against = self.y + shape * self.xy
        scale = against / (self.count + 2 * shape * self.x + shape * shape * self.xx)
        return scale, max(0.0, self.yy - scale * against) / (self.y / self.count) ** 2


SHAPES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
FEW = 5.0  # calls after which a worker's own pace counts as much as that it is like all others


def speeds(paces: dict[str, PaceSums]) -> dict[str, float]:
    """Worker -> how fast it is, their mean being 1.0.

    All have one shape, by how much a call slows the others down, and each has a scale; the shape is that which explains
    the paces best. So workers that are never equally full can be compared, and few calls suffice.
    """
    known = {worker: each for worker, each in paces.items() if each.count > 0}
    shape = min(SHAPES, key=lambda s: sum(each.scale(s)[1] for each in known.values()))
    raw = {worker: 1 / each.scale(shape)[0] for worker, each in known.items()}
    whole = sum(each.count for each in known.values())
    mean = sum(raw[w] * known[w].count for w in raw) / whole if whole else 1.0
    found = {}
    for worker, each in paces.items():
        sure = each.count / (each.count + FEW)
        found[worker] = 1.0 + sure * (min(4.0, max(0.1, raw[worker] / mean)) - 1.0) if worker in raw else 1.0
    middle = sum(found.values()) / len(found) if found else 1.0
    return {worker: speed / middle for worker, speed in found.items()}
