"""The other processes a process talks to, and how it says that one of them cannot be reached."""

from __future__ import annotations

import random

from alto_streams.setting_errors import redacted as redacted

BACKOFF_FIRST_S = 0.1
BACKOFF_MOST_S = 5.0


class Backoff:
    """Waits in seconds between tries: doubling from 0.1 to 5, each with up to a quarter of jitter."""

    def __init__(self, most_s: float = BACKOFF_MOST_S) -> None:
        self._most_s = most_s
        self._next_s = BACKOFF_FIRST_S

    def next_s(self) -> float:
        """The wait before the next try."""
        wait = self._next_s
        self._next_s = min(self._most_s, wait * 2)
        return wait * random.uniform(0.75, 1.0)

    def reset(self) -> None:
        """A try has succeeded: begin anew."""
        self._next_s = BACKOFF_FIRST_S


def bootstrap_servers(broker: str) -> list[str]:
    """`kafka://a:9092;kafka://b:9092` (or with commas) as `["a:9092", "b:9092"]`."""
    parts = [part.strip() for part in broker.replace(",", ";").split(";")]
    hosts = [part.split("://", 1)[-1].rstrip("/") for part in parts if part]
    return [host if ":" in host else f"{host}:9092" for host in hosts]
