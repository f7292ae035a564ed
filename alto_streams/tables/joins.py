"""When a call may start: its own inputs, and nobody else's, are all there. Pure.

Each record adds to the row what it says of its source: values, failed leaves, closes. A call is ready once its driver
and the ancestors it takes are known and every scope that it gathers is complete; in barrier mode, once the stages
before are complete for the whole request.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from alto_streams.define.pipeline import Gather, Pipeline
from alto_streams.define.stages import Stage
from alto_streams.define.topology import REQUEST, Input
from alto_streams.tables.rows import Row
from alto_streams.tables.withdrawals import Cut, Withdrawals
from alto_streams.wire.paths import Scope, ancestor_path, child_path, is_under, parse_path
from alto_streams.wire.records import Items, Mode, Request, Status


class _Feed(NamedTuple):
    """How records of one source advance one kind of scope: its name and levels, whether the source's children are its
    leaves, and whether it is one of the barrier's."""

    scope: str
    levels: int
    leaf: bool
    held: bool


class Joins:
    """The inputs of one stage."""

    def __init__(self, pipeline: Pipeline, stage: Stage, dead: Withdrawals) -> None:
        self._pipeline, self._stage, self._node, self._dead = pipeline, stage, stage.node, dead
        self._depth_of = {REQUEST: 0} | {name: len(s.node.lineage) for name, s in pipeline.stages.items()}
        self._barrier, self._takes = stage.node.barrier, {n for n in self._depth_of if stage.node.takes(n)}
        self._owned = {each.source for each in stage.node.inputs if each.gathered} | {stage.node.driver}
        self._feeds = {
            mode: {source: list(self._feeds_of(source, mode)) for source in pipeline.stages} for mode in Mode
        }

    def absorb_request(self, row: Row, request: Request) -> None:
        """The request has arrived."""
        row.context = request.context
        row.values.setdefault(REQUEST, {})[""] = request.input.copy()

    def absorb_items(self, row: Row, items: Items) -> None:
        """Children of an upstream stream have been accepted, or it has closed; what of it is dead changes nothing."""
        paths = child_paths(items)
        for path in (items.path, *paths[-1:]):
            parse_path(path)  # whatever cannot be read is refused before anything has changed
        row.context = items.context
        if self._dead.is_dead(row, items.stage, items.path):
            return
        told = list(zip(paths, items.children, strict=True))
        if row.withdrawn or row.cancelled:
            told = [(path, child) for path, child in told if not self._dead.is_dead(row, items.stage, path)]
        close = items.close
        if close is not None and self._dead.is_outdated(row, items.stage, items.path, items.epoch):
            close = None
        open_ones = [(path, child) for path, child in told if not self._is_over(row, path)]
        is_open = close is not None and not self._is_over(row, items.path)
        for path, child in open_ones:
            if child.status is not Status.OK:
                row.failures.setdefault(items.stage, {})[path] = child.cause or child.status
            elif items.stage in self._takes:
                row.values.setdefault(items.stage, {})[path] = child.value.copy()  # it is a view of the whole record
        if close is not None and close.status is not Status.OK and is_open:
            row.failures.setdefault(items.stage, {})[items.path] = close.cause or close.status
        for feed in self._feeds[row.context.mode][items.stage]:
            if feed.leaf:
                for path, _ in told if feed.held else open_ones:
                    self._scope(row, feed, path).account(path)
            if close is not None and (feed.held or is_open):
                self._scope(row, feed, items.path).close(items.path, close.count, items.epoch)

    def withdraw(self, row: Row, cut: Cut) -> None:
        """Take back what a cut has made dead."""
        for table in (row.values, row.failures):
            for source in [source for source in table if self._dead.comes_through(source, cut)]:
                # A call that has begun keeps what was cancelled after that: its prompt must not change.
                is_dead = partial(self._dead.is_dead, row, source, cancelled=False)
                kept = {p: v for p, v in table[source].items() if not is_dead(p)}
                table[source] = kept  # type: ignore[assignment]
        # How the stream had ended is taken back with its children: it will end again, in the new epoch.
        row.failures.get(cut.stage, {}).pop(cut.stream, None)
        for name, chain in {**self._node.scopes, **self._barrier}.items():
            scopes = row.scopes.get(name, {})
            for path in list(scopes):
                if path and self._dead.is_dead(row, self._stage.name, path):
                    del scopes[path]
                elif cut.stage in chain and is_under(cut.stream, path):
                    scopes[path].withdraw(cut.stream, cut.first, cut.epoch)

    def cut_off(self, row: Row, source: str, path: str) -> None:
        """The item of `source` at `path` is cancelled, and all below it; a call that has begun keeps its inputs."""
        for feed in self._feeds[row.context.mode][source]:
            if feed.held or not self._has_begun(row, path):
                self._scope(row, feed, path).cut_off(path)
        was_there = path in row.values.get(source, {}) and not self._has_begun(row, path)
        for table in (row.values, row.failures):
            for name in [name for name in table if source in self._pipeline.lineage(name)]:
                kept = {p: v for p, v in table[name].items() if not is_under(p, path) or self._has_begun(row, p)}
                table[name] = kept  # type: ignore[assignment]
        if was_there and source != self._node.driver:
            row.failures.setdefault(source, {})[path] = row.cancelled[source][path]

    def accounts_for(self, row: Row, source: str, path: str) -> bool:
        """Whether all that the item of `source` at `path` can give to this stage's scopes is there already."""
        scopes = [self._scope(row, feed, path) for feed in self._feeds[row.context.mode][source]]
        return bool(scopes) and all(scope.accounts_for(path) for scope in scopes)

    def pending(self, row: Row) -> list[str]:
        """The paths of calls that a driver has asked for and that have not been opened, or are to begin anew."""
        driver, depth, calls = self._node.driver, self._node.depth, row.calls
        drivers = row.values.get(driver, {})
        if failed := row.failures.get(driver):
            drivers = {**drivers, **failed}  # type: ignore[dict-item]
        return [p for p in drivers if (p not in calls or calls[p].held) and self._levels(p) == depth]

    def driver_failure(self, row: Row, path: str) -> str | None:
        """Why there is nothing to call at `path`: its driver is a failed leaf."""
        return row.failure(self._node.driver, path)

    def is_ready(self, row: Row, path: str) -> bool:
        """Whether the call at `path` has all its inputs."""
        if not self.has_gathered(row, path):
            return False
        for each in self._node.inputs:
            if not each.gathered and row.value(each.source, self._input_path(each.source, path)) is None:
                return False
        return row.context.mode is Mode.STREAM or all(self._completed(row, name, "") for name in self._barrier)

    def has_gathered(self, row: Row, path: str) -> bool:
        """Whether every scope that the call at `path` gathers is complete."""
        return all(self._completed(row, name, path) for name in self._node.scopes)

    def arguments(self, row: Row, path: str, *, final: bool = False) -> dict[str, Any]:
        """The typed inputs of the call at `path`, by parameter; of what is gathered only what is `final`, if asked.

        Raises:
            msgspec.ValidationError: a value is not of the type that its stage declared.
        """
        arguments: dict[str, Any] = {}
        for each in self._node.inputs:
            kind = self._pipeline.request if each.source == REQUEST else self._pipeline.stages[each.source].output
            if each.gathered:
                found = {p: v for p, v in row.values.get(each.source, {}).items() if is_under(p, path)}
                failed = {p: c for p, c in row.failures.get(each.source, {}).items() if is_under(p, path)}
                if final:
                    found = {p: v for p, v in found.items() if self._is_final(row, each, path, p)}
                    failed = {p: c for p, c in failed.items() if self._is_final(row, each, path, p)}
                items = {p: msgspec.json.decode(found[p], type=kind) for p in sorted(found, key=_in_order)}
                complete = self._completed(row, each.parameter, path)
                arguments[each.parameter] = Gather(items, failed, complete=complete)
            else:
                value = row.values[each.source][self._input_path(each.source, path)]
                arguments[each.parameter] = msgspec.json.decode(value, type=kind)
        return arguments

    def release(self, row: Row, path: str) -> None:
        """The call at `path` is over: drop the inputs that were its own, unless it may have to begin anew with them."""
        if self._node.volatile:
            return
        for source in self._owned:
            for table in (row.values, row.failures):
                for gone in [at for at in table.get(source, ()) if is_under(at, path)]:
                    del table[source][gone]
        for name in self._node.scopes:
            row.scopes.get(name, {}).pop(path, None)

    def _feeds_of(self, source: str, mode: Mode) -> Iterator[_Feed]:
        """The scopes that records of `source` advance."""
        node = self._node
        for feed in node.feeds(source, barrier=False):
            yield _Feed(feed.scope, len(node.scopes[feed.scope]), feed.leaf, False)
        for feed in node.feeds(source, barrier=True) if mode is Mode.BARRIER else ():
            yield _Feed(feed.scope, len(self._barrier[feed.scope]), feed.leaf, True)

    def _scope(self, row: Row, feed: _Feed, at: str) -> Scope:
        """The scope that a path lies in."""
        return row.scope(feed.scope, "" if feed.held else ancestor_path(at, self._node.depth), feed.levels)

    def _is_over(self, row: Row, path: str) -> bool:
        call = row.calls.get(ancestor_path(path, self._node.depth))
        return call is not None and call.is_over

    def _is_final(self, row: Row, gathered: Input, path: str, item: str) -> bool:
        """Whether nothing can take this item back any more: all streams above it have closed, and with them all that
        they were made of."""
        scope = row.scopes.get(gathered.parameter, {}).get(path)
        return scope is not None and scope.is_closed_above(item)

    def _has_begun(self, row: Row, path: str) -> bool:
        call = row.calls.get(ancestor_path(path, self._node.depth))
        return call is not None and not call.held

    @staticmethod
    def _completed(row: Row, name: str, path: str) -> bool:
        scope = row.scopes.get(name, {}).get(path)
        return scope is not None and scope.complete

    def _input_path(self, source: str, path: str) -> str:
        return ancestor_path(path, self._depth_of[source])

    @staticmethod
    def _levels(path: str) -> int:
        return path.count("/") + 1 if path else 0


def child_paths(items: Items) -> list[str]:
    """The paths of the children that a record tells of."""
    return [child_path(items.path, items.first + n, items.epoch) for n in range(len(items.children))]


def _in_order(path: str) -> list[tuple[int, int]]:
    """Sorts paths as their items stand in the request: by index, then by epoch, level by level."""
    return [(int(i), int(e or 0)) for i, _, e in (level.partition("~") for level in path.split("/"))] if path else []
