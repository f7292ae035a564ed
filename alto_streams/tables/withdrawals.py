"""Which paths of a row are dead: withdrawn with all that derives from them, or cut off by a cancellation. Pure.

A withdrawal at child `first` of a stream takes that child and all later ones of lower epochs. It may be told by its
`Retract`, or be seen first in a path that has a higher epoch at that level. What is dead stays dead, whatever arrives
later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import REQUEST
from alto_streams.tables.rows import Row
from alto_streams.wire.paths import parse_path, wire_path


class Cut(NamedTuple):
    """Children from `first` on, of epochs below `epoch`, of the stream of `stage` at `stream` are withdrawn."""

    stage: str
    stream: str
    first: int
    epoch: int


class Withdrawals:
    """Reads and extends what a row knows of its dead paths. A path means nothing without the stages of its levels."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._lineage = {name: pipeline.lineage(name) for name in (REQUEST, *pipeline.stages)}

    def is_dead(self, row: Row, source: str, path: str, *, cancelled: bool = True) -> bool:
        """Whether a path of a stage's items, of its streams or of its calls is dead."""
        if not row.withdrawn and not row.cancelled:
            return False
        lineage, levels = self._lineage[source], parse_path(path)
        for depth, level in enumerate(levels):
            stage = lineage[depth]
            cuts = row.withdrawn.get(stage, {}).get(wire_path(levels[:depth]), {})
            if any(epoch > level.epoch and first <= level.nth for epoch, first in cuts.items()):
                return True
            if cancelled and wire_path(levels[: depth + 1]) in row.cancelled.get(stage, {}):
                return True
        return False

    def is_outdated(self, row: Row, source: str, stream: str, epoch: int) -> bool:
        """Whether the stream at `stream` has begun a later epoch than this."""
        return any(known > epoch for known in row.withdrawn.get(source, {}).get(stream, {}))

    def is_known(self, row: Row, cut: Cut) -> bool:
        """Whether the stream that is cut has begun the epoch of this cut, or a later one."""
        return self.is_outdated(row, cut.stage, cut.stream, cut.epoch - 1)

    def comes_through(self, source: str, cut: Cut) -> bool:
        """Whether items of a stage derive from the stream that was cut."""
        return cut.stage in self._lineage[source]

    def implied(self, source: str, paths: Iterable[str]) -> list[Cut]:
        """The cuts that these paths of a stage's items or streams speak of."""
        found: dict[Cut, None] = {}
        for path in paths:
            if "~" not in path:
                continue
            levels = parse_path(path)
            for depth, level in enumerate(levels):
                if level.epoch:
                    stream = wire_path(levels[:depth])
                    found[Cut(self._lineage[source][depth], stream, level.nth, level.epoch)] = None
        return list(found)

    def learn(self, row: Row, cut: Cut) -> bool:
        """Remember a cut. Returns whether it takes anything that the known ones do not take."""
        if self.is_dead(row, cut.stage, cut.stream):
            return False
        cuts = row.withdrawn.get(cut.stage, {}).get(cut.stream, {})
        if any(epoch >= cut.epoch and first <= cut.first for epoch, first in cuts.items()):
            return False
        row.withdrawn.setdefault(cut.stage, {}).setdefault(cut.stream, {})[cut.epoch] = cut.first
        return True
