"""Files of JSON lines, plain or gzipped by their name: written whole or not at all; equal lines make equal files."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from alto_streams.errors import ConfigError

PLAIN, ZIPPED = ".jsonl", ".jsonl.gz"
PART = ".part"  # of a file that is being written
LEVEL = 6  # of gzip: the default of most tools


def check_target(option: str, path: Path, endings: Iterable[str] = (PLAIN, ZIPPED)) -> None:
    """Whether a file may be written there, before anything is begun.

    Raises:
        ConfigError: its name has none of the endings, its folder is not there, or nothing can be written there.
    """
    if not path.name.endswith(tuple(endings)):
        raise ConfigError(f"{option} {path}: expected a name that ends in {' or '.join(endings)}")
    check_writable(option, path)


def check_writable(option: str, path: Path) -> None:
    """Whether a file can be written there, which is tried: rights alone do not tell of a file system that is read-only.

    Raises:
        ConfigError: it is a folder, its folder is not there, or nothing can be written there.
    """
    if path.is_dir():
        raise ConfigError(f"{option} {path}: it is a folder; name a file, such as {path / 'results.jsonl'}")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {folder}")
    beside = path.with_name(path.name + PART)
    try:
        was_there = beside.exists()
        with beside.open("ab"):
            pass
        if not was_there:
            beside.unlink()
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written in {folder}: {error.strerror}") from None


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers from 1 on; a byte order mark at the beginning is skipped.

    A line ends at a line feed only: a text may have any other separator, such as U+2028, within a string.

    Raises:
        ConfigError: the file cannot be read, or it is cut off.
    """
    number = 0
    try:
        with cast("IO[bytes]", gzip.open(path) if path.name.endswith(".gz") else path.open("rb")) as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if line.strip():
                    yield number, line
    except EOFError:
        raise ConfigError(f"{path}: it is cut off after line {number}") from None
    except (OSError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "it is no gzip file, or a damaged one"
        raise ConfigError(f"{path}: cannot be read: {why}") from None


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Replaces the file, once all of it is written.

    Raises:
        ConfigError: it cannot be written.
    """
    beside = path.with_name(path.name + PART)
    try:
        with beside.open("wb") as file:
            if path.name.endswith(".gz"):
                # Neither the time nor the name goes into it: the same lines make the same file.
                with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as zipped:
                    zipped.writelines(line + b"\n" for line in lines)
            else:
                file.writelines(line + b"\n" for line in lines)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
