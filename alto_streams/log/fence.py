"""How long ago the group coordinator last heard of this worker (pure).

A worker that was silent for longer than its session timeout has lost its partitions, though it may not know it yet (a
paused process, a cut network). It stops before it produces again.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from alto_streams.errors import Fenced


class Fence:
    """Holds the time of the last heartbeat that was answered. Written by the consumer's thread, read by all.

    `session_s`: the session timeout in seconds. Before the first heartbeat the worker owns nothing and may produce.
    """

    def __init__(self, owner: str, session_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._owner = owner
        self._session_s = session_s
        self._clock = clock
        self._beat: float | None = None

    def beat(self, sent_at: float) -> None:
        """A heartbeat sent at `sent_at` (seconds on the same clock) was answered."""
        self._beat = sent_at

    def age_s(self) -> float:
        """Seconds since the last answered heartbeat; 0 before the first."""
        return 0.0 if self._beat is None else self._clock() - self._beat

    @property
    def is_shut(self) -> bool:
        """Whether the last answered heartbeat is older than the session timeout."""
        return self.age_s() > self._session_s

    def check(self) -> None:
        """Raises `Fenced` if it is shut."""
        if self.is_shut:
            raise Fenced(
                f"{self._owner}: the last heartbeat was answered {self.age_s():.1f} s ago, the session timeout is"
                f" {self._session_s:g} s: its partitions may have another owner, so it produces nothing"
            )
