"""What is known of each request that was offered, and the figures of many: for every mode, and for the limit."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.reference.workload import WARM_UP

MODES = ("barrier", "stream", "verdict_first")
GOOD_S = 4.0  # the latency that goodput asks for


@dataclass(slots=True)
class Sample:
    """One request. `at_s`: its scheduled arrival, since the run began; every latency counts from there.

    `late_s`: how much later it was really sent. None: it never came. `wrong`, `missing`, `repeated`: verdicts.
    """

    row: str
    at_s: float
    late_s: float = 0.0
    ttft_s: float | None = None
    first_verdict_s: float | None = None
    last_verdict_s: float | None = None
    done_s: float | None = None
    error: str = ""
    wrong: int = 0
    missing: int = 0
    repeated: int = 0

    def latency_s(self, mode: str) -> float | None:
        """To the last verdict: as soon as it is written (`verdict_first`), or once its call has ended."""
        return self.last_verdict_s if mode == "verdict_first" else self.done_s


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all counted requests of one or several runs (seeds) at one offered rate. Latencies in seconds.

    `achieved`: requests a second that ended, over the time in which the counted ones were offered. `goodput`: those of
    them that ended within `GOOD_S`. `late_p99_s`: of the load generator itself.
    """

    n: int
    mean_s: float
    p50_s: float
    p99_s: float
    ttft_s: float
    first_verdict_s: float
    achieved: float
    goodput: float
    errors: int
    late_p99_s: float

    def as_json(self) -> dict[str, Any]:
        """Rounded to milliseconds."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def figures(runs: Sequence[Sequence[Sample]], mode: str) -> Figures:
    """Percentiles are pooled over the runs. The first requests of each run, by time, are warm-up and are not counted.

    Raises:
        ValueError: not one counted request has ended.
    """
    counted, offered_s = list[Sample](), 0.0
    for run in runs:
        last = max(sample.at_s for sample in run)
        counted += [sample for sample in run if sample.at_s > last * WARM_UP]
        offered_s += last * (1 - WARM_UP)
    latencies = sorted(each for sample in counted if (each := sample.latency_s(mode)) is not None and not sample.error)
    if not latencies:
        raise ValueError(f"{mode}: none of {len(counted)} counted requests has ended")
    return Figures(
        n=len(counted),
        mean_s=statistics.fmean(latencies),
        p50_s=_percentile(latencies, 0.50),
        p99_s=_percentile(latencies, 0.99),
        ttft_s=_mean(sample.ttft_s for sample in counted),
        first_verdict_s=_mean(sample.first_verdict_s for sample in counted),
        achieved=len(latencies) / offered_s,
        goodput=sum(each <= GOOD_S for each in latencies) / offered_s,
        errors=len(counted) - len(latencies),
        late_p99_s=_percentile(sorted(sample.late_s for sample in counted), 0.99),
    )


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _mean(found: Any) -> float:
    known = [each for each in found if each is not None]
    return statistics.fmean(known) if known else float("nan")
