"""Stop sequences: held back while they may be one, and never passed on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alto_streams.models.protocol import Piece
from alto_streams.wire.resume import stops_begun


class Stops:
    """Ends a run where a stop sequence is, whoever looks for it beside us.

    Servers look for stop sequences in what a run writes itself, not in what it continues; and one that holds back text
    in which a stop may begin tells the ids of its tokens too early, so it is better asked not to.

    `complete`: a stop was found. `known`: the server finds it too, since none of it is in the prefix.
    """

    def __init__(self, stops: Sequence[str], prefix: str) -> None:
        self._stops = [stop for stop in stops if stop]
        # What of the prefix may be the beginning of a stop.
        sizes = [len(stop) - len(rest) for stop in self._stops for rest in stops_begun([stop], prefix)]
        self._before = prefix[len(prefix) - max(sizes, default=0) :]
        self._held: list[Piece] = []
        self.complete = self.known = False

    def feed(self, piece: Piece) -> list[Piece]:
        """The pieces that are no part of a stop; none from then on that it is `complete`."""
        if self.complete:
            return []
        self._held.append(piece)
        text = self._before + "".join(held.text for held in self._held)
        found = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.complete = True
            self.known = min(found) >= len(self._before)
            return self._until(min(found) - len(self._before))
        begun = max(
            (size for stop in self._stops for size in range(1, len(stop)) if text.endswith(stop[:size])), default=0
        )
        safe = len(text) - begun - len(self._before)
        if safe < 0:
            return []  # it begins in the prefix
        self._before = ""
        return self._whole(safe)

    def rest(self) -> list[Piece]:
        """What was held back in vain: the run has ended."""
        held, self._held = self._held, []
        return [] if self.complete else held

    def _whole(self, size: int) -> list[Piece]:
        """The pieces that lie wholly in the first so many characters; the others are held on."""
        count = 0
        for held in self._held:
            size -= len(held.text)
            if size < 0:
                break
            count += 1
        ready, self._held = self._held[:count], self._held[count:]
        return ready

    def _until(self, size: int) -> list[Piece]:
        """The first so many characters; a piece that is cut keeps no token ids."""
        ready = self._whole(max(0, size))
        left = max(0, size) - sum(len(piece.text) for piece in ready)
        if left > 0:
            cut = self._held[0]
            ready.append(msgspec.structs.replace(cut, text=cut.text[:left], tokens=None))
        return ready
