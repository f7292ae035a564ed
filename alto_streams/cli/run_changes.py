"""What changed from one run of some requests to another, over all of them: what a what-if is asked for. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from alto_streams.recordings.differences import RequestResult
from alto_streams.recordings.results import percentile
from alto_streams.wire.records import Status

NOTED = 0.1  # of a latency: a request that changes by less counts as unchanged


class Side(NamedTuple):
    """One run. `recording`: the digest of its requests; `told`: each of them; `system`: where they were sent to.

    `hit_rate`: the part of the prompts' prefixes that engines had cached, None where that is not known.
    """

    recording: str
    told: Mapping[str, RequestResult]
    system: str
    hit_rate: float | None = None


def changes(first: Side, second: Side) -> Iterator[str]:
    """Lines of plain text. Latencies are of the requests that ended well in both; without any there is no line."""
    both = [
        (a, b)
        for request, a in first.told.items()
        if (b := second.told.get(request)) is not None and a.status == b.status == Status.OK
    ]
    done = [(a.done_s, b.done_s) for a, b in both if a.done_s is not None and b.done_s is not None]
    if not done:
        return
    if first.system != second.system:
        yield f"first   {first.system}"
        yield f"second  {second.system}"
    yield f"{'':<24}{'first':>10}{'second':>10}"
    yield from _statuses(first, second)
    told = [(a.ttft_s, b.ttft_s) for a, b in both if a.ttft_s is not None and b.ttft_s is not None]
    yield from _latencies("first token", told)
    yield from _latencies("done", done)
    if first.hit_rate is not None and second.hit_rate is not None:
        yield f"{'prefix tokens cached':<24}{first.hit_rate:>10.1%}{second.hit_rate:>10.1%}"
    sooner, later = (sum(sign * (a - b) > NOTED * a for a, b in done) for sign in (1, -1))
    yield f"done sooner by over {NOTED:.0%}: {sooner}; later by over {NOTED:.0%}: {later}; of {len(done)}"


def _statuses(first: Side, second: Side) -> Iterator[str]:
    one, other = (Counter(each.status for each in side.told.values()) for side in (first, second))
    for status in sorted({*one, *other}):
        yield f"{f'ended {status}':<24}{one[status]:>10}{other[status]:>10}"


def _latencies(what: str, pairs: Sequence[tuple[float, float]]) -> Iterator[str]:
    if not pairs:
        return
    one, other = (sorted(values) for values in zip(*pairs, strict=True))
    rows = [("mean", fmean(one), fmean(other))]
    rows += [(name, percentile(one, share), percentile(other, share)) for name, share in (("p50", 0.5), ("p99", 0.99))]
    for name, a, b in rows:
        change = f"{(b - a) / a:>+8.0%}" if a else ""
        yield f"{f'{what}, {name}, s':<24}{a:>10.3f}{b:>10.3f}{change}"
