"""vLLM's engine in this very process, and its core's: what can be killed here."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time

from alto_streams.errors import EngineUnavailable
from alto_streams.models.vllm import VllmEngine
from tests.engines.servers import VLLM, VLLM_SEQUENCES

READY_S = 600.0
DEAD_S = 10.0


class InProcess:
    """One engine for all tests: it takes minutes to load. `is_up`: whether a core runs; `kill` is sudden."""

    def __init__(self) -> None:
        os.environ.update(HF_HUB_OFFLINE="1", VLLM_CPU_KVCACHE_SPACE="2", VLLM_LOGGING_LEVEL="WARNING")
        # 32 bits: with 16 a token that is read again with a prefix is not quite the one that was written. Eager, since
        # compiling takes longer than all that is asked here.
        options = {"dtype": "float32", "enforce_eager": True}
        self.engine = VllmEngine(
            str(VLLM / "smollm2"), slots=VLLM_SEQUENCES, silence_s=60.0, context_tokens=2048, options=options
        )

    async def up(self) -> None:
        """Wait until it takes calls."""
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    return await self.engine.ready()
                except EngineUnavailable:
                    await asyncio.sleep(0.1)

    async def running(self) -> int:
        """How many calls its scheduler runs."""
        load = await self.engine.load()
        return 0 if load is None else load.running

    @property
    def is_up(self) -> bool:
        """Always, as far as a test can know: whoever needs it waits for it."""
        return True

    def start(self) -> None:
        """It loads another core by itself."""

    def kill(self) -> None:
        """The core ends at once; vLLM's own thread notices."""
        loaded = self.engine._loaded
        assert loaded is not None
        for child in multiprocessing.active_children():
            if child.name.startswith("EngineCore"):
                child.kill()
        until_s = time.monotonic() + DEAD_S
        while not loaded.engine.errored:
            assert time.monotonic() < until_s
