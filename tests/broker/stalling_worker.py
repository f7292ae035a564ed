"""A worker that stalls after its first record, in the way that STALLS says: `hang`, `block`, `unfetched` or `not`.

With `packed` it does not, and cannot read what a broker has compressed.

STALLS=hang TOPIC=... python -m faust -A tests.broker.stalling_worker worker
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from aiokafka import codec

from alto_streams.log.fetching import Fetching
from alto_streams.settings import settings
from alto_streams.worker import watch
from alto_streams.worker.app import new_app
from alto_streams.worker.pump import Polled, pumped

watch.GRACE_S = 3.0
STALLS, TOPIC = os.environ["STALLS"], os.environ["TOPIC"]
if STALLS == "packed":
    codec.cramjam = None
app = new_app(f"{TOPIC}-{STALLS}", settings())
seen = 0


async def handle(partition: int, polled: list[Polled]) -> None:
    """Finishes the first record, and then no other one, unless it does not stall."""
    global seen
    seen += len(polled)
    if seen > 1 and STALLS == "hang":
        await asyncio.Event().wait()
    if seen > 1 and STALLS == "block":
        threading.Event().wait()
    if STALLS == "unfetched":
        Fetching.getmany = fetch_nothing  # type: ignore[method-assign]


async def fetch_nothing(*_: Any, **__: Any) -> dict[Any, Any]:
    """What a consumer looks like that has stopped."""
    await asyncio.sleep(0.25)
    return {}


pumped(app, TOPIC, handle)
