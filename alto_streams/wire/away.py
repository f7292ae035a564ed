"""What an LM worker tells in Redis while its engine does not answer, and what follows for the model's calls. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from alto_streams.wire.codec import Wire

STALE_MS = 6_000  # a worker tells it again each second
SETTLED_MS = 1_500  # an engine that was only busy, or restarts at once, is not told of


class EngineAway(Wire, frozen=True):
    """One worker's engine. `engine`: its name and address; `cause`: why it does not answer, without an address.

    `since_ms`, `at_ms`: when that began, and when it was last told; in ms since the epoch.
    """

    worker: str
    engine: str
    cause: str
    since_ms: int
    at_ms: int


def away_of(told: Iterable[EngineAway], working: Collection[str], now_ms: int) -> EngineAway | None:
    """What a model's calls wait for: None while another worker of it is `working`, whose engine answers.

    Of several the one that has been away the longest.
    """
    fresh = [each for each in told if now_ms - each.at_ms < STALE_MS]
    if not fresh or set(working) - {each.worker for each in fresh}:
        return None
    longest = min(fresh, key=lambda each: (each.since_ms, each.worker))
    return longest if now_ms - longest.since_ms >= SETTLED_MS else None
