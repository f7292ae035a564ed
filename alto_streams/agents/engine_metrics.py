"""What an engine inside this worker says of itself, as metrics; a server has a page of its own for that."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alto_streams.models.vllm import VllmEngine


class VllmMetrics(Collector):
    """vLLM's scheduler after its last step. Counters begin anew with each engine core."""

    def __init__(self, engine: VllmEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Calls now, and tokens in all."""
        counts = self._engine.counts
        yield GaugeMetricFamily("alto_vllm_running", "Calls in the batch", counts.running)
        yield GaugeMetricFamily("alto_vllm_waiting", "Calls that wait for room in the batch", counts.waiting)
        yield CounterMetricFamily("alto_vllm_prefix_tokens", "Prompt tokens looked up in the cache", counts.queries)
        yield CounterMetricFamily("alto_vllm_prefix_hit_tokens", "Prompt tokens that the cache spared", counts.hits)
