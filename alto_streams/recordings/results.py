"""A results file: what became of each request of a recording in one run, as JSON lines. Pure but for the file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from alto_streams.errors import ConfigError, Poison
from alto_streams.recordings.files import read_lines, write_lines
from alto_streams.recordings.format import VERSION
from alto_streams.wire.records import Raw, Wire, decoder, encode

NO_RESULT = Raw(b"null")


class ClassCalls(Wire, frozen=True):
    """The calls of one prompt class in a run: how many have ended, and what engines had cached of their prefixes."""

    calls: int = 0
    prefix_tokens: int = 0
    cached_tokens: int = 0


class RunHeader(Wire, frozen=True, tag="run"):
    """The first line. `recording`: the digest of what was sent; `spacing`: how, in words.

    `system`: where to; `started`: RFC 3339, of a run in real time only. `classes`: of a simulated run only.
    """

    version: int
    pipeline: str
    recording: str
    spacing: str
    system: str
    started: str | None = None
    classes: dict[str, ClassCalls] = {}

    @property
    def hit_rate(self) -> float | None:
        """The part of the prefixes' tokens that engines were spared; None where nothing is known of it."""
        prefix = sum(each.prefix_tokens for each in self.classes.values())
        return sum(each.cached_tokens for each in self.classes.values()) / prefix if prefix else None


class Ran(Wire, frozen=True):
    """One request. Latencies count from its scheduled arrival, `at_s` seconds after the run's begin.

    `late_s`: how much later it was really sent; it is part of every latency.
    """

    id: str
    at_s: float
    status: str
    late_s: float = 0.0
    ttft_s: float | None = None
    first_item_s: float | None = None
    done_s: float | None = None
    cause: str | None = None
    result: Raw = NO_RESULT


_read_header, _read_ran = decoder(RunHeader), decoder(Ran)


def write_results(path: Path, header: RunHeader, ran: Iterable[Ran]) -> None:
    """By scheduled arrival. Raises `ConfigError` if it cannot be written."""
    in_order = sorted(ran, key=lambda each: (each.at_s, each.id))
    write_lines(path, (encode(each) for each in (header, *in_order)))


def read_results(path: Path) -> tuple[RunHeader, list[Ran]]:
    """A whole results file.

    Raises:
        ConfigError: it cannot be read, or is no results file; names the line and the field.
    """
    header: RunHeader | None = None
    ran: dict[str, Ran] = {}
    for number, line in read_lines(path):
        try:
            if header is None:
                header = _read_header(line)
            else:
                one = _read_ran(line)
                if one.id in ran:
                    raise ConfigError(f"{path}, line {number}: id {one.id!r} comes a second time")
                ran[one.id] = one
        except Poison as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        if header.version != VERSION:
            raise ConfigError(f"{path}: results of version {header.version}; this program reads version {VERSION}")
    if header is None:
        raise ConfigError(f"{path}: it is empty")
    return header, list(ran.values())


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of values in ascending order, not empty: the smallest one that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
