"""A recording: requests with their times of arrival, in a file of JSON lines.

The first line is a `Header`, each other one a `Recorded`. Times are the log's, in ms since the epoch; a deadline is
kept as the time that a request had, so that it means the same whenever the request is sent again. Idempotency keys are
left out: a request that is sent again shall run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from alto_streams.errors import ConfigError, Poison
from alto_streams.recordings.files import PLAIN, ZIPPED, read_lines, write_lines
from alto_streams.wire.records import Mode, Raw, Status, Wire, decoder, encode

VERSION = 1
MOST_BYTES = 1 << 30  # of inputs, and of results: a recording is held in memory
PARQUET = ".parquet"
ENDINGS = (PLAIN, ZIPPED, PARQUET)
NOT_KEPT = Raw(b"")


class Became(Wire, frozen=True):
    """What became of a request. `result_hash`: see `hash_of`; `done_s`: from its arrival to its end.

    `kept`: the result itself; `NOT_KEPT` in recordings of before it was.
    """

    status: Status
    result_hash: str
    done_s: float
    kept: Raw = NOT_KEPT

    @property
    def result(self) -> Raw | None:
        """The result itself, where it is known."""
        return self.kept if bytes(self.kept) else None


class Recorded(Wire, frozen=True):
    """One request. `at_ms`: when it arrived; `within_s`: how much time it had from then on."""

    id: str
    at_ms: int
    pipeline: str
    input: Raw
    mode: Mode = Mode.STREAM
    within_s: float | None = None
    became: Became | None = None


class Header(Wire, frozen=True, tag="recording"):
    """The first line. `source`: the topic, or the file, that the requests are from.

    `offsets`: of each partition that was read, the first offset and the one after the last. `created`: RFC 3339.
    """

    version: int
    pipeline: str
    source: str
    requests: int
    created: str
    offsets: dict[int, tuple[int, int]] = {}


class Recording(NamedTuple):
    """Requests in the order of their arrival."""

    header: Header
    requests: list[Recorded]

    @property
    def span_s(self) -> float:
        """From the first arrival to the last."""
        return (self.requests[-1].at_ms - self.requests[0].at_ms) / 1000

    @property
    def digest(self) -> str:
        """Tells this recording's requests from those of others, whatever file they are in."""
        found = hashlib.sha256()
        for each in self.requests:
            found.update(encode(msgspec.structs.replace(each, became=None)) + b"\n")
        return found.hexdigest()[:16]


_read_header, _read_request = decoder(Header), decoder(Recorded)


def one_line(value: Raw | bytes) -> Raw:
    """A JSON value without line breaks and spaces between its parts; numbers stay as they were written."""
    return Raw(msgspec.json.format(bytes(value), indent=-1))


def hash_of(value: Raw | bytes) -> str:
    """Of a JSON value, whatever the order of its fields: 32 hex digits of SHA-256."""
    plain = msgspec.json.encode(msgspec.json.decode(value), order="sorted")
    return hashlib.sha256(plain).hexdigest()[:32]


def ordered(requests: Iterable[Recorded]) -> list[Recorded]:
    """By arrival; those of one millisecond by their ids."""
    return sorted(requests, key=lambda each: (each.at_ms, each.id))


def write_recording(path: Path, recording: Recording) -> None:
    """In the format that the file's name says. Raises `ConfigError` if it cannot be written."""
    if path.name.endswith(PARQUET):
        from alto_streams.recordings.parquet import write_parquet

        write_parquet(path, recording)
    else:
        write_lines(path, (encode(each) for each in (recording.header, *recording.requests)))


def read_recording(path: Path) -> Recording:
    """A whole recording.

    Raises:
        ConfigError: it cannot be read, is no recording, or is cut off; names the line and the field.
    """
    if path.name.endswith(PARQUET):
        from alto_streams.recordings.parquet import read_parquet

        header, requests = read_parquet(path)
    else:
        header, requests = _from_lines(path)
    if len(requests) != header.requests:
        raise ConfigError(f"{path}: it has {len(requests)} requests; its header says {header.requests}: it is cut off")
    if not requests:
        raise ConfigError(f"{path}: it holds no request")
    return Recording(header, ordered(requests))


def header_of(line: bytes, place: str) -> Header:
    """The first line of a recording. Raises `ConfigError` with the field at fault, or if it is of a later version."""
    try:
        header = _read_header(line)
    except Poison as error:
        raise ConfigError(f"{place}: no header of a recording: {error}; make one with `alto-streams record`") from None
    if header.version != VERSION:
        raise ConfigError(f"{place}: a recording of version {header.version}; this program reads version {VERSION}")
    return header


def _from_lines(path: Path) -> tuple[Header, list[Recorded]]:
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise ConfigError(f"{path}: it is empty")
    header = header_of(first[1], f"{path}, line {first[0]}")
    return header, list(checked(path, _requests(path, lines)))


def _requests(path: Path, lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, Recorded]]:
    for number, line in lines:
        try:
            yield number, _read_request(line)
        except Poison as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None


def checked(path: Path, numbered: Iterable[tuple[int, Recorded]]) -> Iterator[Recorded]:
    """The requests themselves. Raises `ConfigError` where an id comes a second time."""
    seen: dict[str, int] = {}
    for number, each in numbered:
        if each.id in seen:
            raise ConfigError(f"{path}, line {number}: id {each.id!r} stands in line {seen[each.id]} already")
        seen[each.id] = number
        yield each
