"""Why the calls of a request went where they went, as JSON and as a table. Pure; nothing of what the calls say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text

from alto_streams.cli.scheduler_view import ago, short_names, table
from alto_streams.history.dispatches import Course, Dispatched, class_of
from alto_streams.wire.plans import Receipt

REASONS = {
    "turn": "the partitions take turns",
    "hash": "by the hash of request and path",
    "only": "one owner of the class was known to be there",
    "least": "the owner with the fewest calls",
    "two": "the one with fewer calls of two drawn",
    "warm": "least predicted work of those compared, and its engine has the prefix",
    "cold": "least predicted work of those compared, though its engine lacks the prefix",
    "weights": "no live load was known: by the plan's weights and this sender's own calls",
    "escape": "those drawn had far more than the mean: this call went to another owner of the class",
}


def fields(course: Course, dispatched: Dispatched) -> dict[str, Any]:
    """All of one dispatch. `after_s`: since the request's id was made."""
    receipt = dispatched.receipt
    return {
        "request": course.request,
        "class": class_of(course, dispatched),
        "path": dispatched.path,
        "attempt": dispatched.attempt,
        "model": dispatched.model,
        "at": _time(dispatched.at_ms),
        "after_s": (dispatched.at_ms - course.made_ms) / 1000,
        "partition": dispatched.partition,
        "offset": dispatched.offset,
        "receipt": None if receipt is None else {**_DEFAULTS, **msgspec.to_builtins(receipt)},
    }


def drawn(course: Course) -> Iterator[RenderableType]:
    """What the request is, a line for each dispatch, and what the words mean."""
    yield Text(_heading(course))
    if course.may_lack:
        yield Text(f"older than what is kept in {', '.join(course.may_lack)}: some dispatches may be missing")
    if course.unreadable:
        yield Text(f"work items that nothing can read: {', '.join(course.unreadable[:5])}")
    if not course.dispatches:
        yield Text("no call has been dispatched")
        return
    receipts = [each.receipt for each in course.dispatches if each.receipt is not None]
    names = short_names(
        sorted({name for each in receipts for name in (each.chosen, *(c.worker for c in each.candidates)) if name})
    )
    found = table("call", "after", "to", "why", "tokens", "held", "others", "plan", "load")
    for column in (2, 3, 6):
        found.columns[column].justify = "left"
    for each in course.dispatches:
        found.add_row(*_row(course, each, names))
    yield found
    yield Text()
    for reason in dict.fromkeys(each.reason for each in receipts):
        yield Text(f"{reason}: {REASONS.get(reason, 'of a policy that is not known here')}", style="dim")
    if any(each.attempt > 1 for each in course.dispatches):
        yield Text("(2): the call's second attempt, and so on", "dim")
    yield Text("tokens: what the call takes; held: what the chosen worker, or another one, had to do by then", "dim")
    yield Text("load: how old what was known of the chosen worker was", "dim")


def _heading(course: Course) -> str:
    became = course.became
    how = "still under way" if became is None else f"ended {became.status} after {became.done_s:.2f} s"
    calls = len({(each.stage, each.path) for each in course.dispatches})
    said = f"request {course.request} of {course.pipeline}, {_time(course.made_ms)}, {how}"
    policies = Counter(each.receipt.policy for each in course.dispatches if each.receipt is not None)
    by = f" by {', '.join(policies)}" if policies else ""
    return f"{said}: {len(course.dispatches)} dispatches of {calls} calls{by}"


def _row(course: Course, each: Dispatched, names: dict[str, str]) -> list[str]:
    call = f"{each.stage} {each.path}".rstrip() + (f" ({each.attempt})" if each.attempt > 1 else "")
    after, receipt = f"{(each.at_ms - course.made_ms) / 1000:.3f} s", each.receipt
    if receipt is None:
        return [call, after, f"partition {each.partition}", "in turn", *"-----"]
    chosen = [candidate for candidate in receipt.candidates if candidate.worker == receipt.chosen]
    others = [candidate for candidate in receipt.candidates if candidate.worker != receipt.chosen]
    return [
        call,
        after,
        names.get(receipt.chosen) or f"partition {each.partition}",
        receipt.reason,
        f"{receipt.work:,}",
        f"{chosen[0].work:,}" if chosen else "-",
        ", ".join(f"{names[other.worker]} {other.work:,}{' warm' if other.warm else ''}" for other in others) or "-",
        str(receipt.plan) if receipt.plan else "-",
        _load(receipt),
    ]


def _load(receipt: Receipt) -> str:
    if receipt.age_ms is not None:
        return ago(receipt.age_ms / 1000)
    return "-" if not receipt.live else "live"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


_DEFAULTS: dict[str, Any] = {
    field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    for field in msgspec.structs.fields(Receipt)
    if not field.required and not (field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT)
}
