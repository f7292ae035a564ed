"""Which silence a fault has made in the streams that it hit. Pure.

A *silence* is the time between two successive events of one request, as its client received them; the first begins
when the request was accepted, and one that never ended lasts until its client gave up. A fault at time `t` is charged
with the longest silence that it touched: one that lasted at `t`, or began after it, up to the end of its *reach*: a
session timeout and two seconds (for a pause: as long after the wake-up as well), or the next fault if that comes first.
Nothing is subtracted: what the stream would have been silent anyway is in it, and so is what was silent before `t`.

Two parts that die at one instant are both charged. A fault stands *alone* when no other fault's reach overlaps its own
and its silence does not contain an earlier fault too: then nothing else has made it. (A later fault inside it does not
matter: a recovery that took too long is charged to the fault that began it, never left out.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """What was done to one part, in seconds since the run began. `reach_s`: how long its silences may begin."""

    at_s: float
    kind: str
    part: str
    role: str
    reach_s: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Between two successive events of one request."""

    start_s: float
    end_s: float
    request: int

    @property
    def length_s(self) -> float:
        """How long it lasted."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest silence that a fault touched; None if no request was in flight."""

    fault: Fault
    silence: Silence | None
    alone: bool

    @property
    def length_s(self) -> float:
        """0 where nothing was in flight."""
        return 0.0 if self.silence is None else self.silence.length_s


def silences(times: Sequence[Sequence[float]]) -> list[Silence]:
    """Of each request: when it was accepted, and when each of its events came."""
    return [
        Silence(start, end, request) for request, each in enumerate(times) for start, end in itertools.pairwise(each)
    ]


def gaps(faults: Sequence[Fault], found: Sequence[Silence]) -> list[Gap]:
    """One for each fault, in order of time."""
    ordered = sorted(faults, key=lambda fault: fault.at_s)
    instants = sorted({fault.at_s for fault in ordered})
    result = []
    for fault in ordered:
        following = next((at for at in instants if at > fault.at_s), float("inf"))
        until = min(fault.at_s + fault.reach_s, following)
        touched = [each for each in found if each.start_s < until and each.end_s > fault.at_s]
        longest = max(touched, key=lambda each: each.length_s, default=None)
        result.append(Gap(fault, longest, _alone(fault, longest, ordered)))
    return result


def _alone(fault: Fault, silence: Silence | None, faults: Sequence[Fault]) -> bool:
    others = [other for other in faults if other.at_s != fault.at_s]
    if any(_overlap(fault, other) for other in others):
        return False
    return silence is None or not any(silence.start_s < other.at_s < fault.at_s for other in others)


def _overlap(one: Fault, other: Fault) -> bool:
    return one.at_s < other.at_s + other.reach_s and other.at_s < one.at_s + one.reach_s


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of them do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else None
