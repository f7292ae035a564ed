"""Sums in which what is old counts less: half as much after each half-life.

Means are quotients of two such sums, so time alone never changes them: what was learned holds until there is news.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from itertools import product

import msgspec

from alto_streams.wire.plans import ClassReport, Pace

BUCKET = math.log(1.15)  # each bucket of output lengths is so much wider than the last
FASTEST_S, SLOWEST_S, MOST_CALLS = 1e-6, 100.0, 1e5  # a token's time, and the calls of one engine: else it is an error
MOST_READ = 1e6  # prompt tokens while one is written
LONG = 64  # tokens; a call that is longer counts as one of so many: much of it is of long ago
ODD = 4.0  # a call that is slower than its worker's mean by more counts as so much slower: it may be of two tokens
KNOWN = 20.0  # short calls; a worker that has been idle keeps their weight
FEW = 3.0  # short calls, after which a worker's own pace counts as much as that it is like all others

Shape = tuple[float, float]
"""By how much a call is slowed down by each call beside it, and by each prompt token read for one of its own."""

USUAL: Shape = (0.02, 0.0075)
STEEPEST = 10.0
NEED = 1.0  # how much better it has to explain the paces, in squares, to be e times as large or small as usual


SUMMED = ("arrived", "ended", "prompt_tokens", "cached_tokens", "first_token_s", "call_s")  # of a report, as they are


class ClassSums(msgspec.Struct):
    """Of one prompt class. `since_ms`: where its first report began. `seen`: calls ever, none forgotten.

    `outputs`: bucket of output lengths -> calls.
    """

    since_ms: int
    at_ms: int
    seen: int = 0
    arrived: float = 0.0
    ended: float = 0.0
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    output_tokens: float = 0.0
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
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + weight * getattr(report, name))
        self.output_tokens += weight * sum(report.output_tokens)
        if report.ended:  # only calls can show that a prefix has become shorter
            self.prefix = max(report.cached_most, self.prefix * 2.0 ** (-span_s / (10 * half_life_s)))
        for tokens in report.output_tokens:
            bucket = int(math.log(max(1, tokens)) / BUCKET)
            self.outputs[bucket] = self.outputs.get(bucket, 0.0) + weight

    def _fade(self, factor: float) -> None:
        if factor == 1.0:
            return
        for name in (*SUMMED, "output_tokens"):
            setattr(self, name, getattr(self, name) * factor)
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


class PaceSums(msgspec.Struct):
    """Of a worker's calls: how many ran beside each (x), what was read meanwhile (r), its seconds per token (y).

    Those of one report are one sample, of their means: in which call's time a prompt was read is not known well, and
    such errors, which would make reading look cheap, are those of one call against another.

    `count`: calls, of which one that is four times as long tells twice as much.
    """

    at_ms: int
    count: float = 0.0
    tokens: float = 0.0
    x: float = 0.0
    r: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xr: float = 0.0
    rr: float = 0.0
    xy: float = 0.0
    ry: float = 0.0
    yy: float = 0.0

    def take(self, paces: Iterable[Pace], at_ms: int, half_life_s: float) -> None:
        fade = 2.0 ** (-max(0, at_ms - self.at_ms) / 1000 / half_life_s)
        if self.count * fade < KNOWN:
            fade = min(1.0, KNOWN / self.count) if self.count else 0.0
        self.at_ms = max(self.at_ms, at_ms)
        for name in self.__struct_fields__[1:]:
            setattr(self, name, getattr(self, name) * fade)
        most = ODD * self.alone_s(USUAL) if self.count >= KNOWN else SLOWEST_S
        count = tokens = in_x = in_r = in_y = 0.0
        for x, y, r, length in paces:
            if 0 <= x < MOST_CALLS and FASTEST_S < y <= SLOWEST_S and 0 <= r < MOST_READ and length > 0:
                weight = min(length, LONG)
                count += math.sqrt(weight)
                tokens += weight
                in_x += weight * x
                in_r += weight * r
                in_y += weight * min(y, most * (1 + USUAL[0] * x + USUAL[1] * r))
        if count:
            self._add(count, tokens, in_x / tokens, in_r / tokens, in_y / tokens)

    def _add(self, count: float, tokens: float, x: float, r: float, y: float) -> None:
        self.count += count
        self.tokens += tokens
        self.x += tokens * x
        self.r += tokens * r
        self.y += tokens * y
        self.xx += tokens * x * x
        self.xr += tokens * x * r
        self.rr += tokens * r * r
        self.xy += tokens * x * y
        self.ry += tokens * r * y
        self.yy += tokens * y * y

    def alone_s(self, shape: Shape) -> float:
        """The seconds per token of a call that is alone, if y = alone * (1 + p * x + q * r).

        Of the means, not by least squares: errors in x and r would show as speed.
        """
        p, q = shape
        return self.y / (self.tokens + p * self.x + q * self.r)

    def error(self, shape: Shape) -> float:
        """The squares of what that does not explain, relative to the mean."""
        (p, q), alone_s = shape, self.alone_s(shape)
        crossed = self.y + p * self.xy + q * self.ry
        squared = self.tokens + 2 * (p * self.x + q * self.r + p * q * self.xr) + p * p * self.xx + q * q * self.rr
        return max(0.0, self.yy - alone_s * (2 * crossed - alone_s * squared)) / (self.y / self.tokens) ** 2


def speeds(paces: dict[str, PaceSums]) -> dict[str, float]:
    """Worker -> how fast it is, their mean being 1.0.

    All have one shape, by how much what else an engine does slows a call down, and each has a scale. So workers that
    are never equally full, or read much and write little, can be compared, and few calls suffice.
    """
    known = {worker: each for worker, each in paces.items() if each.count > 0}
    shape = _shape(known.values())
    raw = {worker: 1 / each.alone_s(shape) for worker, each in known.items()}
    whole = sum(each.count for each in known.values())
    mean = sum(raw[w] * known[w].count for w in raw) / whole if whole else 1.0
    found = {}
    for worker, each in paces.items():
        sure = each.count / (each.count + FEW)
        found[worker] = 1.0 + sure * (min(4.0, max(0.1, raw[worker] / mean)) - 1.0) if worker in raw else 1.0
    middle = sum(found.values()) / len(found) if found else 1.0
    return {worker: speed / middle for worker, speed in found.items()}


def _shape(known: Collection[PaceSums]) -> Shape:
    """That which explains the paces best, and is not without need far from what is usual."""

    def cost(shape: Shape) -> float:
        far = math.log(shape[0] / USUAL[0]) ** 2 + math.log(shape[1] / USUAL[1]) ** 2
        return sum(each.error(shape) for each in known) + NEED * far

    best, least, step = USUAL, cost(USUAL), 4.0
    while step > 1.03:
        last = best
        for p, q in product((1 / step, 1.0, step), repeat=2):
            near = (last[0] * p, last[1] * q)
            if max(near) <= STEEPEST and (less := cost(near)) < least:
                best, least = near, less
        if best == last:
            step **= 0.5
    return best
