"""What servers tell of their load at `/metrics`, in Prometheus's text format.

vLLM follows https://docs.vllm.ai "Production Metrics"; SGLang (with `--enable-metrics`) https://docs.sglang.io
"Production Metrics"; llama.cpp (with `--metrics`) its `tools/server/README.md`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from statistics import fmean

import httpx
from prometheus_client.parser import text_string_to_metric_families

from alto_streams.models.http_errors import OVERLOADED
from alto_streams.models.protocol import EngineLoad

WITHIN_S = 2.0  # for the page: llama.cpp makes it between two steps of a batch
RARELY_S = 60.0  # until a server that has no such page is asked again: it may be another one by then
PAGE_MOST = 4 << 20  # bytes; vLLM's has 54,000
COUNT_MOST = 10**12

FIELDS = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "used",  # a fraction, whatever its name says
    "vllm:prefix_cache_queries_total": "queries",
    "vllm:prefix_cache_hits_total": "hits",
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:token_usage": "used",
    "llamacpp:requests_processing": "running",
    "llamacpp:requests_deferred": "waiting",
}
# One core's parts, which all tell the same of it (SGLang's, with `--enable-metrics-for-all-schedulers`).
_PARTS = ("tp_rank", "pp_rank", "moe_ep_rank")


class LoadPage:
    """The page of one server. One that has none, or tells nothing of its load there, is asked again rarely."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client, self._url = client, url
        self._next_s = float("-inf")

    async def load(self, model: str, headers: Mapping[str, str]) -> EngineLoad | None:
        """What the server tells of this model within `WITHIN_S`; None if that is nothing, for whatever reason."""
        if time.monotonic() < self._next_s:
            return None
        try:
            async with asyncio.timeout(WITHIN_S):
                status, page = await self._get(headers)
        except (TimeoutError, httpx.HTTPError):  # it is away or busy, and may tell in a second
            return None
        if status in OVERLOADED:
            return None
        told = load_of(page, model)
        if told is None:
            self._next_s = time.monotonic() + RARELY_S
        return told

    async def _get(self, headers: Mapping[str, str]) -> tuple[int, str]:
        """The status, and the page if it has one."""
        page = bytearray()
        async with self._client.stream("GET", self._url, headers=headers) as response:
            if response.status_code < 300:
                async for part in response.aiter_bytes():
                    page += part
                    if len(page) > PAGE_MOST:
                        break
        return response.status_code, page.decode(errors="replace")


def load_of(page: str, model: str) -> EngineLoad | None:
    """The load that a page tells: calls and tokens of all cores summed, the mean of their caches; None if none.

    Only the series of the model count. A server that has one model tells it under the first of its names, whichever it
    is asked for.
    """
    try:
        samples = list(_samples(page))
    except ValueError:
        return None
    models = {labels["model_name"] for _, labels, _ in samples if "model_name" in labels}
    ours = model if model in models or len(models) != 1 else models.pop()
    told: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for field, labels, value in samples:
        if labels.get("model_name", ours) == ours:
            core = frozenset(label for label in labels.items() if label[0] not in _PARTS)
            cores = told.setdefault(field, {})
            cores[core] = max(value, cores.get(core, 0.0))
    if "running" not in told:
        return None
    counts = {name: round(sum(cores.values())) for name, cores in told.items()}
    used = min(1.0, fmean(told["used"].values())) if "used" in told else None
    return EngineLoad(counts["running"], counts.get("waiting", 0), used, counts.get("queries"), counts.get("hits"))


def _samples(page: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Each series that is of interest: its field, labels, value. Most of a page is not, and would take long to parse.

    Raises:
        ValueError: a line is not in the format.
    """
    lines = [line for line in page.splitlines() if line.partition("{")[0].partition(" ")[0] in FIELDS]
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            if math.isfinite(sample.value):  # what a server says is not ours to trust
                yield FIELDS[sample.name], sample.labels, min(max(0.0, sample.value), COUNT_MOST)
