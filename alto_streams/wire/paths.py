"""Nested ancestry: paths, and when a scope is complete. Pure.

A path says where a value stands in its request: one level per stream that it came through, each level an (epoch,
index). The request itself is the root, the empty path. On the wire a level is its index, with its epoch where that is
not 0: `3/1~2` is child 1 of epoch 2 of child 3, at most 13 bytes a level.

A scope is the subtree under a path. It is complete when closes account for every child of every stream in it (as the
frontiers of Timely Dataflow do, but over a tree whose shape is only known as it closes). Children may be withdrawn:
what replaces them has a higher epoch at their level, and a complete scope is open again until that is accounted for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import msgspec

from alto_streams.errors import Poison
from alto_streams.wire.records import Cancelled, ControlRecord, Ended

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


def covers(record: ControlRecord, request: str, stage: str, path: str, attempt: int) -> bool:
    """Whether this says that an attempt, its call or a scope above it is over."""
    match record:
        case Ended():
            ended = (record.request, record.stage, record.path)
            return ended == (request, stage, path) and record.attempt >= attempt
        case Cancelled():
            is_meant = not record.stages or stage in record.stages
            return record.request == request and is_meant and is_under(path, record.path)


class Stream(msgspec.Struct, omit_defaults=True):
    """What a scope knows of one stream in it: its number of children once closed, and which are accounted for.

    `epoch` is that of the close. `redone`: the epochs of those children whose epoch is not 0.
    """

    count: int | None = None
    done: set[int] = msgspec.field(default_factory=set)
    epoch: int = 0
    redone: dict[int, int] = {}

    @property
    def complete(self) -> bool:
        count = self.count
        # A child may be accounted for that the stream never had: it was cancelled ahead of its time.
        return count is not None and len(self.done) >= count and sum(nth < count for nth in self.done) == count

    def account(self, level: Level) -> bool:
        """A child is accounted for. Returns whether that is new."""
        if level.nth in self.done:
            return False
        self.done.add(level.nth)
        if level.epoch:
            self.redone[level.nth] = level.epoch
        return True

    def disown(self, level: Level) -> None:
        """A child is not accounted for any more, unless that was another epoch's."""
        if level.nth in self.done and self.redone.get(level.nth, 0) == level.epoch:
            self.done.discard(level.nth)
            self.redone.pop(level.nth, None)

    def withdraw(self, first: int, epoch: int) -> None:
        """Children from `first` on are not accounted for any more, unless they are of this epoch or a later one."""
        for nth in [n for n in self.done if n >= first and self.redone.get(n, 0) < epoch]:
            self.done.discard(nth)
            self.redone.pop(nth, None)
        if self.epoch < epoch:
            self.count = None


class Scope(msgspec.Struct, omit_defaults=True):
    """The progress of one scope: the streams between `path` and the leaves that a gather waits for.

    With `levels` stages on the way from the scope to its leaves, the streams of the i-th stand i levels below `path`,
    so a path alone names a stream. Sets of indices, not counters: whatever is told twice changes nothing. What is dead
    by its path must not be told to it any more.
    """

    path: str
    levels: int
    streams: dict[str, Stream] = {}
    complete: bool = False

    def close(self, stream: str, count: int, epoch: int = 0) -> bool:
        """The stream at `stream` has ended with `count` children. Returns whether this completed the scope."""
        found = self._at(stream)
        found.count, found.epoch = count, epoch
        return self._settle(stream)

    def account(self, child: str) -> bool:
        """A leaf is there, or will never be. Returns whether this completed the scope."""
        parent, level = split_path(child)
        self._at(parent).account(level)
        return self._settle(parent)

    def cut_off(self, child: str) -> bool:
        """Whatever is below this child is accounted for, as nothing. Returns whether this completed the scope."""
        self._drop_below(lambda path: is_under(path, child))
        return self.account(child)

    def withdraw(self, stream: str, first: int, epoch: int) -> bool:
        """Children of `stream` from `first` on, of epochs below `epoch`, are no more. Returns whether it reopened."""
        was_complete = self.complete
        depth = len(parse_path(stream))

        def is_withdrawn(path: str) -> bool:
            below = parse_path(path)[depth:]
            return bool(below) and is_under(path, stream) and below[0].nth >= first and below[0].epoch < epoch

        self._drop_below(is_withdrawn)
        if stream in self.streams:
            self.streams[stream].withdraw(first, epoch)
        self._unsettle(stream)
        return was_complete and not self.complete

    def accounts_for(self, child: str) -> bool:
        """Whether this child is accounted for, with all below it."""
        parent, level = split_path(child)
        stream = self.streams.get(parent)
        return stream is not None and level.nth in stream.done and stream.redone.get(level.nth, 0) == level.epoch

    def is_closed_above(self, leaf: str) -> bool:
        """Whether every stream from the scope down to this leaf has closed."""
        path = parse_path(leaf)
        streams = [wire_path(path[:depth]) for depth in range(len(parse_path(self.path)), len(path))]
        return all((s := self.streams.get(at)) is not None and s.count is not None for at in streams)

    def _at(self, stream: str) -> Stream:
        return self.streams.setdefault(stream, Stream())

    def _drop_below(self, is_gone: Callable[[str], bool]) -> None:
        for path in [path for path in self.streams if is_gone(path)]:
            del self.streams[path]

    def _settle(self, stream: str) -> bool:
        while self._at(stream).complete:
            if stream == self.path:
                first = not self.complete
                self.complete = True
                return first
            parent, level = split_path(stream)
            if not self._at(parent).account(level):
                return False
            stream = parent
        return False

    def _unsettle(self, stream: str) -> None:
        while not self._at(stream).complete:
            if stream == self.path:
                self.complete = False
                return
            parent, level = split_path(stream)
            self._at(parent).disown(level)
            stream = parent


def split_path(child: str) -> tuple[str, Level]:
    """The stream that a child belongs to, and its level there."""
    path = parse_path(child)
    return wire_path(path[:-1]), path[-1]
