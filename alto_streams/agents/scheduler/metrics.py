"""What the scheduler knows, as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from alto_streams.agents.scheduler.agent import SchedulerWork
from alto_streams.agents.scheduler.load_records import now_ms

Gauges = Sequence[tuple[str, str, str]]
"""Names without their prefix, what they say, and of which attribute."""

CLASS: Gauges = (
    ("rate", "Calls a second", "rate"),
    ("prompt_tokens", "Mean length of a prompt", "prompt_tokens"),
    ("output_tokens", "Mean length of an output", "output_tokens"),
    ("output_tokens_upper", "Length that nine outputs of ten keep below", "output_upper"),
    ("prefix_tokens", "Length of the prefix that all prompts share", "prefix_tokens"),
    ("hit_rate", "Part of the prefixes' tokens that engines were spared", "hit_rate"),
    ("first_token_seconds", "From when the engine is asked to its first token", "first_token_s"),
    ("token_seconds", "From one token to the next", "token_s"),
)
ENGINE: Gauges = (
    ("speed", "Speed, 1.0 being the mean of the model's workers", "speed"),
    ("running", "Calls under way", "running"),
    ("waiting", "Calls that wait at the worker", "waiting"),
    ("work_tokens", "Tokens that its calls are expected to take", "work"),
    ("hit_rate", "Part of the prefixes' tokens that it was spared", "hit_rate"),
)


class SchedulerMetrics(Collector):
    """What the scheduler knows, as of when it is asked: no series outlives its worker."""

    def __init__(self, models: Iterable[str], work: SchedulerWork) -> None:
        self._models, self._statistics = list(models), work.statistics
        self._feed, self._scheduler = work.feed, work.scheduler

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Gauges by model and prompt class, by model and worker, and of the plan."""
        at_ms, known = now_ms(), self._statistics
        yield from _gauges("alto_class", "prompt_class", CLASS, {m: known.classes(m, at_ms) for m in self._models})
        yield from _gauges("alto_engine", "worker", ENGINE, {m: known.workers(m, at_ms) for m in self._models})
        version = GaugeMetricFamily("alto_plan_version", "Version of the plan", labels=["model"])
        imbalance = GaugeMetricFamily(
            "alto_plan_imbalance",
            "Work over speed of the busiest worker by the plan, 1.0 being the mean",
            labels=["model"],
        )
        for model, plan in self._feed.plans.items():
            version.add_metric([model], plan.version)
            imbalance.add_metric([model], max(plan.busy.values(), default=1.0))
        yield version
        yield imbalance
        yield GaugeMetricFamily(
            "alto_scheduler_active", "1 for the one that plans, 0 for a standby", value=float(self._scheduler.is_active)
        )


def _gauges(
    prefix: str, label: str, gauges: Gauges, known: Mapping[str, Mapping[str, Any]]
) -> Iterable[GaugeMetricFamily]:
    """A family each. `known`: model -> label -> what has the attributes."""
    for name, what, of in gauges:
        family = GaugeMetricFamily(f"{prefix}_{name}", what, labels=["model", label])
        for model, states in known.items():
            for each, state in states.items():
                family.add_metric([model, each], getattr(state, of))
        yield family
