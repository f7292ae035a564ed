"""What the scheduler knows, as metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from alto_streams.agents.scheduler import SchedulerWork


class SchedulerMetrics(Collector):
    """What the scheduler knows, as of when it is asked: no series outlives its worker."""

    def __init__(self, models: Iterable[str], work: SchedulerWork) -> None:
        self._models, self._statistics, self._feed, self._scheduler = (
            list(models),
            work.statistics,
            work.feed,
            work.scheduler,
        )

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Gauges by model and prompt class, by model and worker, and of the plan."""
        at_ms = int(time.time() * 1000)
        classes = {model: self._statistics.classes(model, at_ms) for model in self._models}
        for name, what, of in (
            ("rate", "Calls a second", "rate"),
            ("prompt_tokens", "Mean length of a prompt", "prompt_tokens"),
            ("output_tokens", "Mean length of an output", "output_tokens"),
            ("output_tokens_upper", "Length that nine outputs of ten keep below", "output_upper"),
            ("prefix_tokens", "Length of the prefix that all prompts share", "prefix_tokens"),
            ("hit_rate", "Part of the prefixes' tokens that engines were spared", "hit_rate"),
            ("first_token_seconds", "From when the engine is asked to its first token", "first_token_s"),
            ("token_seconds", "From one token to the next", "token_s"),
        ):
            family = GaugeMetricFamily(f"alto_class_{name}", what, labels=["model", "prompt_class"])
            for model, states in classes.items():
                for prompt_class, state in states.items():
                    family.add_metric([model, prompt_class], getattr(state, of))
            yield family
        workers = {model: self._statistics.workers(model, at_ms) for model in self._models}
        for name, what, of in (
            ("speed", "Speed, 1.0 being the mean of the model's workers", "speed"),
            ("running", "Calls under way", "running"),
            ("waiting", "Calls that wait at the worker", "waiting"),
            ("work_tokens", "Tokens that its calls are expected to take", "work"),
            ("hit_rate", "Part of the prefixes' tokens that it was spared", "hit_rate"),
        ):
            family = GaugeMetricFamily(f"alto_engine_{name}", what, labels=["model", "worker"])
            for model, there in workers.items():
                for worker, each in there.items():
                    family.add_metric([model, worker], getattr(each, of))
            yield family
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
