"""In what two runs of the same requests differ. Pure: names places in results, and shows no text of a user."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from alto_streams.recordings.format import Recording, hash_of
from alto_streams.recordings.results import Ran
from alto_streams.wire.records import Raw

MOST_PLACES = 20  # of one request's results: those after it are counted only


class RequestResult(NamedTuple):
    """What is known of one request of a run. `result`: None where only its hash is known."""

    status: str
    result_hash: str
    result: Raw | None
    done_s: float | None
    ttft_s: float | None = None


class Difference(NamedTuple):
    """One request in one respect. `what`: `status`, `result`, `latency`, or `missing` in one of them.

    `by`: how much greater the second number is, where two numbers differ.
    """

    request: str
    what: str
    detail: str
    by: float | None = None

    def __str__(self) -> str:
        return f"{self.request}  {self.what:<8}  {self.detail}".rstrip()


class Tolerance(NamedTuple):
    """What does not count. `numbers`: of results, as a share or as an amount, whichever allows more; 0: none.

    `latencies`: the share by which they may differ; None: any.
    """

    numbers: float = 0.0
    latencies: float | None = None

    def allows(self, a: float, b: float) -> bool:
        """Whether two numbers of results count as the same."""
        return self.numbers > 0 and math.isclose(a, b, rel_tol=self.numbers, abs_tol=self.numbers)


EXACT = Tolerance()


def of_run(ran: list[Ran]) -> dict[str, RequestResult]:
    """Each request of a results file."""
    return {
        each.id: RequestResult(each.status, hash_of(each.result), each.result, each.done_s, each.ttft_s) for each in ran
    }


def of_recording(recording: Recording) -> dict[str, RequestResult]:
    """Each request of a recording that says what became of it; of the others nothing is known."""
    known = ((each.id, each.became) for each in recording.requests)
    return {
        name: RequestResult(became.status, became.result_hash, became.result, became.done_s)
        for name, became in known
        if became is not None
    }


def differences(
    first: Mapping[str, RequestResult], second: Mapping[str, RequestResult], tolerance: Tolerance = EXACT
) -> Iterator[Difference]:
    """What differs beyond the tolerance, in the order of the first run; of a result every place, up to a bound."""
    for request, a in first.items():
        b = second.get(request)
        if b is None:
            yield Difference(request, "missing", "in the second")
            continue
        if a.status != b.status:
            yield Difference(request, "status", f"{a.status} -> {b.status}")
        elif a.result_hash != b.result_hash:
            yield from _results(request, a.result, b.result, tolerance)
        share = tolerance.latencies
        if share is not None and a.done_s and b.done_s and abs(b.done_s - a.done_s) > share * a.done_s:
            change = (b.done_s - a.done_s) / a.done_s
            yield Difference(request, "latency", f"{a.done_s:.3f} s -> {b.done_s:.3f} s ({change:+.0%})")
    for request in second:
        if request not in first:
            yield Difference(request, "missing", "in the first")


def _results(request: str, a: Raw | None, b: Raw | None, tolerance: Tolerance) -> Iterator[Difference]:
    if a is None or b is None:
        yield Difference(request, "result", "differs; only its hash is known, so record again with this version")
        return
    places = _places(msgspec.json.decode(a), msgspec.json.decode(b), "$", tolerance)
    yield from (Difference(request, "result", *each) for each in islice(places, MOST_PLACES))
    more = sum(1 for _ in places)
    if more:
        yield Difference(request, "result", f"and {more} places more")


def _places(a: Any, b: Any, place: str, tolerance: Tolerance) -> Iterator[tuple[str, float | None]]:
    """Where two JSON values differ, and for numbers by how much."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            if (name in a) != (name in b):
                yield f"{place}.{name} is only in the {'first' if name in a else 'second'}", None
            else:
                yield from _places(a[name], b[name], f"{place}.{name}", tolerance)
    elif isinstance(a, list) and isinstance(b, list):
        for nth, (one, other) in enumerate(zip(a, b, strict=False)):
            yield from _places(one, other, f"{place}[{nth}]", tolerance)
        if len(a) != len(b):
            yield f"{place}: {len(a)} -> {len(b)} items", None
    elif _is_number(a) and _is_number(b):
        if (type(a) is not type(b) or a != b) and not tolerance.allows(a, b):
            yield f"{place}: {_shown(a)} -> {_shown(b)} ({b - a:+.4g})", float(b - a)
    elif type(a) is not type(b) or a != b:
        yield f"{place}: {_shown(a)} -> {_shown(b)}", None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A number or a truth value itself; of anything else only the kind and size, for it may be a user's text."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return msgspec.json.encode(value).decode()
