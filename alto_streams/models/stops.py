"""Stop sequences that begin in the prefix of a resumed run and end in what it writes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from alto_streams.models.protocol import Piece
from alto_streams.resume import stops_begun


class BegunStops:
    """Holds back a run's first pieces while they may complete a stop sequence that begins in the prefix.

    Servers look for stop sequences in what a run writes itself, not in what it continues.
    """

    def __init__(self, stops: Sequence[str], prefix: str) -> None:
        self._rests = stops_begun(stops, prefix)
        self._held: list[Piece] = []
        self.complete = False

    def feed(self, piece: Piece) -> list[Piece]:
        """The pieces that are no part of such a stop; none from then on that it is `complete`."""
        self._held.append(piece)
        text = "".join(held.text for held in self._held)
        self.complete = self.complete or any(text.startswith(rest) for rest in self._rests)
        if self.complete or any(rest.startswith(text) for rest in self._rests):
            return []
        self._rests = []
        return self.rest()

    def rest(self) -> list[Piece]:
        """What was held back in vain: the run has ended, or gone on otherwise."""
        held, self._held = self._held, []
        return [] if self.complete else held
