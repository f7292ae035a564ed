"""In what two runs of the same requests differ. Pure: names places in results, and shows no text of a user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from alto_streams.recordings.format import Recording, hash_of
from alto_streams.recordings.results import Ran
from alto_streams.wire.records import Raw


class RequestResult(NamedTuple):
    """What is known of one request of a run. `result`: None where only its hash is known."""

    status: str
    result_hash: str
    result: Raw | None
    done_s: float | None
    ttft_s: float | None = None


class RequestDifference(NamedTuple):
    """One request in one respect. `what`: `status`, `result`, `latency`, or `missing` in one of them."""

    request: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.request}  {self.what:<8}  {self.detail}".rstrip()


def of_run(ran: list[Ran]) -> dict[str, RequestResult]:
    """Each request of a results file."""
    return {
        each.id: RequestResult(each.status, hash_of(each.result), each.result, each.done_s, each.ttft_s) for each in ran
    }


def of_recording(recording: Recording) -> dict[str, RequestResult]:
    """Each request of a recording that says what became of it; of the others nothing is known."""
    known = ((each.id, each.became) for each in recording.requests)
    return {
        name: RequestResult(became.status, became.result_hash, None, became.done_s)
        for name, became in known
        if became is not None
    }


def differences(
    first: Mapping[str, RequestResult], second: Mapping[str, RequestResult], tolerance: float | None = None
) -> Iterator[RequestDifference]:
    """What differs, in the order of the first run. `tolerance`: the share by which latencies may differ; None: any."""
    for request, a in first.items():
        b = second.get(request)
        if b is None:
            yield RequestDifference(request, "missing", "in the second")
            continue
        if a.status != b.status:
            yield RequestDifference(request, "status", f"{a.status} -> {b.status}")
        elif a.result_hash != b.result_hash:
            yield RequestDifference(request, "result", _place(a.result, b.result))
        if tolerance is not None and a.done_s and b.done_s and abs(b.done_s - a.done_s) > tolerance * a.done_s:
            change = (b.done_s - a.done_s) / a.done_s
            yield RequestDifference(request, "latency", f"{a.done_s:.3f} s -> {b.done_s:.3f} s ({change:+.0%})")
    for request in second:
        if request not in first:
            yield RequestDifference(request, "missing", "in the first")


def _place(a: Raw | None, b: Raw | None) -> str:
    if a is None or b is None:
        return "differs; only its hash is known"
    return _first(msgspec.json.decode(a), msgspec.json.decode(b), "$") or "differs"


def _first(a: Any, b: Any, place: str) -> str | None:
    """Where two JSON values differ first."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            if (name in a) != (name in b):
                return f"{place}.{name} is only in the {'first' if name in a else 'second'}"
            if (found := _first(a[name], b[name], f"{place}.{name}")) is not None:
                return found
        return None
    if isinstance(a, list) and isinstance(b, list):
        for nth, (one, other) in enumerate(zip(a, b, strict=False)):
            if (found := _first(one, other, f"{place}[{nth}]")) is not None:
                return found
        return None if len(a) == len(b) else f"{place}: {len(a)} -> {len(b)} items"
    return None if type(a) is type(b) and a == b else f"{place}: {_shown(a)} -> {_shown(b)}"


def _shown(value: Any) -> str:
    """A number or a truth value itself; of anything else only the kind and size, for it may be a user's text."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return msgspec.json.encode(value).decode()
