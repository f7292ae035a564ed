"""What a client has been told to take back. Pure.

The events of different stages reach a client in no fixed order: one of a withdrawn item may come after the retraction
that withdrew it. So retractions are remembered, and what is dead by its path is dropped whenever it comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from alto_streams.wire.paths import is_under, parse_path


class Withdrawal(NamedTuple):
    """Children from `first` on, of epochs below `epoch`, of a stream, and what `stages` have below them."""

    stages: frozenset[str]
    stream: str
    first: int
    epoch: int

    def takes(self, stage: str, path: str) -> bool:
        """Whether an item or a stream of a stage is withdrawn by this."""
        if stage not in self.stages or path == self.stream or not is_under(path, self.stream):
            return False
        level = parse_path(path)[len(parse_path(self.stream))]
        return level.nth >= self.first and level.epoch < self.epoch


class CancelledItem(NamedTuple):
    """What `stages` have below an item that was cancelled."""

    stages: frozenset[str]
    path: str

    def takes(self, stage: str, path: str) -> bool:
        """Whether an item or a stream of a stage went with the cancelled one."""
        return stage in self.stages and is_under(path, self.path)


@dataclass(slots=True)
class Unshown:
    """All that one request has taken back."""

    known: list[Withdrawal | CancelledItem] = field(default_factory=list)

    def retract(self, stage: str, stream: str, body: dict[str, Any]) -> Withdrawal:
        """Remembers a `retracted` event."""
        stages = frozenset({stage, *body.get("stages", ())})
        found = Withdrawal(stages, stream, body["first"], body["epoch"])
        self.known.append(found)
        return found

    def cancel(self, path: str, body: dict[str, Any]) -> CancelledItem:
        """Remembers a `close` that cancelled the item at `path`."""
        found = CancelledItem(frozenset(body.get("stages", ())), path)
        self.known.append(found)
        return found

    def is_dead(self, stage: str, path: str) -> bool:
        """Whether an item or a stream of a stage has been taken back."""
        return any(each.takes(stage, path) for each in self.known)
