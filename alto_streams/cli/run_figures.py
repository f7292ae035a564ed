"""What is said of a run in the end: how its requests ended, and how long they took. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from alto_streams.recordings.results import Ran, percentile
from alto_streams.wire.records import Status

LATE_S = 0.05  # a run that sends a request in a hundred later than that measures itself
SHARES = {"p50": 0.50, "p99": 0.99, "most": 1.0}


def figures(ran: Collection[Ran], planned: int, is_real: bool, hit_rate: float | None = None) -> list[str]:
    """Lines of plain text. `is_real`: it was a run in real time, which may itself have been late.

    `hit_rate`: the part of the prompts' prefixes that engines had cached, if that is known.
    """
    counts = Counter(each.status for each in ran)
    how = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none"
    lines = [f"{len(ran)} of {planned} requests have ended: {how}"]
    ended = [each for each in ran if each.status == Status.OK]
    rows = {
        "first token": [each.ttft_s for each in ended],
        "first item": [each.first_item_s for each in ended],
        "done": [each.done_s for each in ended],
    }
    if is_real:
        rows["sent late"] = [each.late_s for each in ran]
    shown = {name: sorted(value for value in values if value is not None) for name, values in rows.items()}
    if any(shown.values()):
        lines.append(f"{'seconds':<12}" + "".join(f"{name:>10}" for name in SHARES) + "   from the scheduled arrival")
    for name, values in shown.items():
        if values:
            lines.append(f"{name:<12}" + "".join(f"{percentile(values, share):>10.3f}" for share in SHARES.values()))
    if hit_rate is not None:
        lines.append(f"{hit_rate:.1%} of the prefixes' tokens were cached at the engines")
    late = shown.get("sent late")
    if late and percentile(late, SHARES["p99"]) > LATE_S:
        lines.append("some requests were sent late, for want of room here or at the gateway: the figures contain that")
    return lines
