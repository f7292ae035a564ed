"""How many requests may be under way at once, so that those that are let in meet their deadlines. Pure.

The bound follows what becomes of the requests: each one that meets its deadline raises it a little, each one that does
not lowers it, and it comes to rest where `SHARE` of them do. Not all: some would be late on idle engines, and a bound
that asks for everything ends at nothing. Nor most: one that turns out to be long is shed as soon as its slack is gone
and has cost little until then, while a bound that lets few in never finds all those that are short.
"""

from __future__ import annotations

import math

SHARE = 0.2  # of the requests that are let in, how many shall meet their deadline
GAIN = 0.06  # by how much one request moves the bound, relatively
LEAST, FIRST, MOST = 4.0, 16.0, 10_000.0
FREE_MS = 10_000  # after a request's deadline its place is free, whoever has heard of its end
CROWDED = "too many requests are under way"


class Admission:
    """One for each place that lets requests in. `bound`: how many may be under way."""

    def __init__(self, share: float = SHARE, first: float = FIRST) -> None:
        self._share, self.bound = share, first
        self._under_way: dict[str, int] = {}  # request -> its deadline, in ms since the epoch
        self.refused = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def admit(self, request: str, deadline_ms: int, at_ms: int) -> bool:
        """Whether this request may begin; it is under way then. One that comes again is let in again."""
        if request not in self._under_way and len(self._under_way) >= self.bound:
            self._under_way = {name: due for name, due in self._under_way.items() if at_ms < due + FREE_MS}
            if len(self._under_way) >= self.bound:
                self.refused += 1
                return False
        self._under_way[request] = deadline_ms
        return True

    def ended(self, request: str, met: bool) -> None:
        """It has ended; `met`: well, and in time. One that is not under way is ignored."""
        if request not in self._under_way:
            return
        is_used = 2 * len(self._under_way) >= self.bound  # one that binds nobody need not be raised
        del self._under_way[request]
        if met and not is_used:
            return
        step = GAIN * ((1 - self._share) if met else -self._share)
        self.bound = min(MOST, max(LEAST, self.bound * math.exp(step)))
