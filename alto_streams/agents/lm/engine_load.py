"""What an engine says of its load: shown as metrics, and what others hold there counted for whoever places calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alto_streams.agents.lm.tally import Tally
from alto_streams.models.protocol import Engine, EngineLoad, TellsLoad
from alto_streams.scheduler.paces import REPORT_S

log = logging.getLogger(__name__)

KEPT_S = 5.0  # that the last load counts while none comes: an engine that does not answer is likely to be a busy one

GAUGES = {
    "running": ("alto_engine_load_running", "Calls that the engine runs, whoever sent them"),
    "waiting": ("alto_engine_load_waiting", "Calls that wait in the engine"),
    "used": ("alto_engine_cache_used", "Fraction of the KV cache that is in use"),
}
COUNTERS = {
    "queries": ("alto_engine_prefix_tokens", "Prompt tokens that the engine looked up in its prefix cache"),
    "hits": ("alto_engine_prefix_hit_tokens", "Prompt tokens that the prefix cache spared"),
}


class EngineWatch(Collector):
    """Asks an engine for its load once a second, beside calls and reports; one that tells none is left alone.

    What the engine holds beyond this worker's calls is others', and is told to the tally: so dispatchers avoid an
    engine that others fill. In front of one engine several workers of ours each count the calls of the rest, and one
    call so counts for each worker. For placing that is right: a call meets all that the engine holds, by whichever
    worker it comes there. Nobody adds up the loads of several workers.

    The engine's count and the worker's are not of one moment: a call that has just ended here may still be counted
    there. So this worker's is the larger one of before and after asking, and others' the smaller of two on end.
    """

    def __init__(self, engine: Engine, tally: Tally, now_s: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._tally, self._now_s = engine, tally, now_s
        self._load: EngineLoad | None = None
        self._heard_s, self._seen = float("-inf"), 0
        self._task: asyncio.Task[None] | None = None
        self._fails = False

    def start(self) -> None:
        """Ask from now on."""
        if isinstance(self._engine, TellsLoad):
            self._task = asyncio.get_running_loop().create_task(self._go_on(self._engine), name="engine-load")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self, engine: TellsLoad) -> None:
        """Ask once."""
        before = self._tally.running
        load, now_s = await engine.load(), self._now_s()
        if load is None:
            if now_s - self._heard_s > KEPT_S:
                self._load, self._seen, self._tally.others = None, 0, 0
            return
        self._load, self._heard_s = load, now_s
        others = max(0, load.running + load.waiting - max(before, self._tally.running))
        self._tally.others, self._seen = min(others, self._seen), others

    def collect(self) -> Iterable[Metric]:
        """What the engine said last. Its counters begin anew when it does."""
        if self._load is None:
            return
        for field, (name, what) in GAUGES.items():
            if (value := getattr(self._load, field)) is not None:
                yield GaugeMetricFamily(name, what, value)
        for field, (name, what) in COUNTERS.items():
            if (value := getattr(self._load, field)) is not None:
                yield CounterMetricFamily(name, what, value)
        yield GaugeMetricFamily("alto_engine_load_others", "Calls there that are not this worker's", self._tally.others)

    async def _go_on(self, engine: TellsLoad) -> None:
        while True:
            try:
                await self.look(engine)
                self._fails = False
            except Exception as error:  # whatever it is: calls go on without it
                if not self._fails:
                    log.warning("%s: its load is left out: %s", self._engine.name, type(error).__name__)
                self._fails = True
            await asyncio.sleep(REPORT_S)
