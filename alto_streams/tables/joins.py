"""When a call may start: its own inputs, and nobody else's, are all there. Pure.

Each record adds to the row what it says of its source: values, failed leaves, closes. A call is ready once its driver
and the ancestors it takes are known and every scope that it gathers is complete; in barrier mode, once the stages
before are complete for the whole request.
"""

from __future__ import annotations

from typing import Any

import msgspec

from alto_streams.ancestry import ancestor_path, child_path, is_under, parse_path
from alto_streams.pipeline import Gather, Pipeline, Stage
from alto_streams.records import Items, Mode, Request, Status
from alto_streams.tables.rows import Row
from alto_streams.topology import REQUEST


class Joins:
    """The inputs of one stage."""

    def __init__(self, pipeline: Pipeline, stage: Stage) -> None:
        self._pipeline, self._stage, self._node = pipeline, stage, stage.node
        self._depth_of = {REQUEST: 0} | {name: len(s.node.lineage) for name, s in pipeline.stages.items()}

    def absorb_request(self, row: Row, request: Request) -> None:
        """The request has arrived."""
        row.context = request.context
        row.values.setdefault(REQUEST, {})[""] = request.input

    def absorb_items(self, row: Row, items: Items) -> None:
        """Children of an upstream stream have been accepted, or it has closed."""
        paths = [child_path(items.path, items.first + n, items.epoch) for n in range(len(items.children))]
        for path in (items.path, *paths[-1:]):
            parse_path(path)  # whatever cannot be read is refused before anything has changed
        row.context = items.context
        feeds = [(feed, self._node.scopes[feed.scope], False) for feed in self._feeds(items.stage, barrier=False)]
        if row.context.mode is Mode.BARRIER:
            feeds += [(feed, self._node.barrier[feed.scope], True) for feed in self._feeds(items.stage, barrier=True)]
        for path, child in zip(paths, items.children, strict=True):
            if not self._is_over(row, path):
                if child.status is not Status.OK:
                    row.failures.setdefault(items.stage, {})[path] = child.cause or child.status
                elif self._node.takes(items.stage):
                    row.values.setdefault(items.stage, {})[path] = child.value
            for feed, chain, held in feeds:
                if feed.leaf and (held or not self._is_over(row, path)):
                    row.scope(feed.scope, self._scope_path(path, held), len(chain)).account(path)
        if items.close is None:
            return
        if items.close.status is not Status.OK and not self._is_over(row, items.path):
            row.failures.setdefault(items.stage, {})[items.path] = items.close.cause or items.close.status
        for feed, chain, held in feeds:
            if held or not self._is_over(row, items.path):
                scope = row.scope(feed.scope, self._scope_path(items.path, held), len(chain))
                scope.close(items.path, items.close.count)

    def pending(self, row: Row) -> list[str]:
        """The paths of calls that a driver has asked for and that have not been opened."""
        drivers = {**row.values.get(self._node.driver, {}), **row.failures.get(self._node.driver, {})}
        depth = self._node.depth
        return [p for p in drivers if p not in row.calls and self._levels(p) == depth]

    def driver_failure(self, row: Row, path: str) -> str | None:
        """Why there is nothing to call at `path`: its driver is a failed leaf."""
        return row.failure(self._node.driver, path)

    def is_ready(self, row: Row, path: str) -> bool:
        """Whether the call at `path` has all its inputs."""
        for each in self._node.inputs:
            if not each.gathered and row.value(each.source, self._input_path(each.source, path)) is None:
                return False
        names = [(name, path) for name in self._node.scopes]
        if row.context.mode is Mode.BARRIER:
            names += [(name, "") for name in self._node.barrier]
        return all((s := row.scopes.get(name, {}).get(at)) is not None and s.complete for name, at in names)

    def arguments(self, row: Row, path: str) -> dict[str, Any]:
        """The typed inputs of the call at `path`, by parameter.

        Raises:
            msgspec.ValidationError: a value is not of the type that its stage declared.
        """
        arguments: dict[str, Any] = {}
        for each in self._node.inputs:
            kind = self._pipeline.request if each.source == REQUEST else self._pipeline.stages[each.source].output
            if each.gathered:
                found = {p: v for p, v in row.values.get(each.source, {}).items() if is_under(p, path)}
                failed = {p: c for p, c in row.failures.get(each.source, {}).items() if is_under(p, path)}
                items = {p: msgspec.json.decode(found[p], type=kind) for p in sorted(found, key=_in_order)}
                arguments[each.parameter] = Gather(items, failed)
            else:
                value = row.values[each.source][self._input_path(each.source, path)]
                arguments[each.parameter] = msgspec.json.decode(value, type=kind)
        return arguments

    def release(self, row: Row, path: str) -> None:
        """The call at `path` is over: drop the inputs that were its own."""
        for source in {i.source for i in self._node.inputs if i.gathered} | {self._node.driver}:
            for table in (row.values, row.failures):
                kept = {p: v for p, v in table.get(source, {}).items() if not is_under(p, path)}
                table[source] = kept  # type: ignore[assignment]
        for name in self._node.scopes:
            row.scopes.get(name, {}).pop(path, None)

    def _feeds(self, source: str, *, barrier: bool) -> list[Any]:
        return self._node.feeds(source, barrier=barrier)

    def _is_over(self, row: Row, path: str) -> bool:
        call = row.calls.get(ancestor_path(path, self._node.depth))
        return call is not None and call.closed

    def _scope_path(self, path: str, held: bool) -> str:
        return "" if held else ancestor_path(path, self._node.depth)

    def _input_path(self, source: str, path: str) -> str:
        return ancestor_path(path, self._depth_of[source])

    @staticmethod
    def _levels(path: str) -> int:
        return path.count("/") + 1 if path else 0


def _in_order(path: str) -> list[tuple[int, int]]:
    """Sorts paths as their items stand in the request: by index, then by epoch, level by level."""
    return [(int(i), int(e or 0)) for i, _, e in (level.partition("~") for level in path.split("/"))] if path else []
