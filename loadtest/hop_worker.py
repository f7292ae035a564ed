"""The receiving end of the hop benchmark: a Faust worker that notes when each record reached its handler.

    ALTO_HOP_TOPIC=… ALTO_HOP_OUT=FILE  faust -A loadtest.hop_worker worker

A record's value is the monotonic clock, in nanoseconds, just before it was produced; the clock is one for all
processes of a machine. `b"end"` makes the worker write what it saw, one latency in milliseconds a line.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from alto_streams.settings import settings
from alto_streams.worker.app import new_app
from alto_streams.worker.pump import Polled, pumped
from alto_streams.worker.readiness import serve_readiness

END = b"end"
TOPIC = os.environ["ALTO_HOP_TOPIC"]
OUT = Path(os.environ["ALTO_HOP_OUT"])

app = new_app(f"alto.{TOPIC}", settings())
latencies_ms: list[float] = []


async def handle(partition: int, batch: list[Polled]) -> None:
    """Notes the batch as a stage agent would get it."""
    now = time.monotonic_ns()
    for record in batch:
        if record.value == END:
            await asyncio.to_thread(write)
        else:
            latencies_ms.append((now - int(record.value)) / 1e6)


def write() -> None:
    """What was seen so far, whole or not at all."""
    part = OUT.with_suffix(".part")
    part.write_text("".join(f"{latency:.4f}\n" for latency in latencies_ms))
    part.rename(OUT)


pumped(app, TOPIC, handle)  # the same path that a stage agent's records take
serve_readiness(app)
