"""Nested ancestry: paths, and when a scope is complete. Pure.

A path says where a value stands in its request: one level per stream that it came through, each level an (epoch,
index). The request itself is the root, the empty path. On the wire a level is its index, with its epoch where that is
not 0: `3/1~2` is child 1 of epoch 2 of child 3, at most 13 bytes a level.

A scope is the subtree under a path. It is complete when closes account for every child of every stream in it (as the
frontiers of Timely Dataflow do, but over a tree whose shape is only known as it closes).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from alto_streams.records import Poison

MAX_INDEX = 2**20 - 1
MAX_EPOCH = 2**12 - 1
MAX_DEPTH = 16
_LEVEL = re.compile(r"(?P<index>0|[1-9][0-9]{0,6})(?:~(?P<epoch>[1-9][0-9]{0,3}))?")


class Level(NamedTuple):
    """One level of a path: child `nth` of a stream, in the `epoch` of that stream."""

    epoch: int
    nth: int


Path = tuple[Level, ...]
ROOT: Path = ()


@lru_cache(maxsize=65_536)
def parse_path(wire: str) -> Path:
    """The path of its wire form. Raises `Poison` where it is malformed or out of bounds."""
    if not wire:
        return ROOT
    levels = []
    for part in wire.split("/"):
        # One wire form a path: rows are keyed by it, so `01` or `1~0` beside `1` would be a second identity.
        form = _LEVEL.fullmatch(part)
        if form is None:
            raise Poison("malformed path")
        level = Level(int(form["epoch"] or 0), int(form["index"]))
        if level.nth > MAX_INDEX or level.epoch > MAX_EPOCH:
            raise Poison("path level out of bounds")
        levels.append(level)
    if len(levels) > MAX_DEPTH:
        raise Poison(f"path deeper than {MAX_DEPTH} levels")
    return tuple(levels)


@lru_cache(maxsize=65_536)
def wire_path(path: Path) -> str:
    """The wire form of a path."""
    return "/".join(f"{level.nth}~{level.epoch}" if level.epoch else str(level.nth) for level in path)


def child_path(stream: str, index: int, epoch: int = 0) -> str:
    """The wire path of one child of the stream at `stream`."""
    level = f"{index}~{epoch}" if epoch else str(index)
    return f"{stream}/{level}" if stream else level


def ancestor_path(path: str, depth: int) -> str:
    """The wire path of the first `depth` levels of `path`."""
    return wire_path(parse_path(path)[:depth])


def is_under(path: str, scope: str) -> bool:
    """Whether `path` is `scope` or lies below it."""
    return not scope or path == scope or path.startswith(scope + "/")


class Stream(msgspec.Struct, omit_defaults=True):
    """What a scope knows of one stream in it: its number of children once closed, and which are accounted for."""

    count: int | None = None
    done: set[int] = msgspec.field(default_factory=set)

    @property
    def complete(self) -> bool:
        return self.count is not None and len(self.done) >= self.count


class Scope(msgspec.Struct, omit_defaults=True):
    """The progress of one scope: the streams between `path` and the leaves that a gather waits for.

    With `levels` stages on the way from the scope to its leaves, the streams of the i-th stand i levels below `path`,
    so a path alone names a stream. Sets of indices, not counters: whatever is told twice changes nothing.
    """

    path: str
    levels: int
    streams: dict[str, Stream] = {}
    complete: bool = False

    def close(self, stream: str, count: int) -> bool:
        """The stream at `stream` has ended with `count` children. Returns whether this completed the scope."""
        self._at(stream).count = count
        return self._settle(stream)

    def account(self, child: str) -> bool:
        """A leaf is there, or will never be. Returns whether this completed the scope."""
        parent, index = _split(child)
        self._at(parent).done.add(index)
        return self._settle(parent)

    def _at(self, stream: str) -> Stream:
        return self.streams.setdefault(stream, Stream())

    def _settle(self, stream: str) -> bool:
        while self._at(stream).complete:
            if stream == self.path:
                first = not self.complete
                self.complete = True
                return first
            parent, index = _split(stream)
            done = self._at(parent).done
            if index in done:
                return False
            done.add(index)
            stream = parent
        return False


def _split(child: str) -> tuple[str, int]:
    """The stream that a child belongs to, and its index there."""
    path = parse_path(child)
    return wire_path(path[:-1]), path[-1].nth
