"""When a call has to begin for its request to meet its deadline, and what follows for those that wait. Pure.

Slack is what is left until then. Least slack first is best while the deadlines can be met; when they cannot, it serves
those first that are lost already, so these lose their place (Lehoczky's domino effect, the usual remedy).
"""

from __future__ import annotations

from alto_streams.wire.plans import ClassForecast, Receipt

PATIENCE_MS = 30_000  # a call without a deadline waits as if it had to begin so long after it came
ROOM = 0.1  # of an engine's slots: with fewer in use it sheds nothing


def latest_start(deadline_ms: int | None, expected: ClassForecast | None) -> int | None:
    """When a call has to begin so that its request ends in time as expected; without a deadline None."""
    if deadline_ms is None or expected is None:
        return deadline_ms
    return deadline_ms - round(1000 * (expected.call_s + expected.rest_s))


def is_hopeless(latest_ms: int | None, at_ms: int) -> bool:
    """Whether the request will miss its deadline, as expected."""
    return latest_ms is not None and at_ms > latest_ms


def has_room(running: int, slots: int) -> bool:
    """Whether an engine tries even what seems hopeless.

    Nobody needs the place; and if no call of a class were made, what is known of it would never change. It may have
    been learned in an overload that has passed.
    """
    return running < ROOM * slots


def rank(latest_ms: int | None, arrived_ms: int, at_ms: int) -> float:
    """Who waits less goes first: by latest start. A call without a deadline, or that cannot meet it any more, goes by
    its arrival behind those that can, until it has waited for `PATIENCE_MS`: nothing waits for ever.

    It changes with `at_ms` only once, when a call becomes hopeless.
    """
    if latest_ms is None or is_hopeless(latest_ms, at_ms):
        return arrived_ms + PATIENCE_MS
    return latest_ms


def priority(receipt: Receipt | None, at_ms: int) -> int:
    """For an engine that chooses whom to serve first: the same order, of a call that begins there now."""
    return int(rank(None if receipt is None else receipt.latest_ms, at_ms, at_ms))
