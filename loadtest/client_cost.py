"""What the Kafka client alone costs: records produced and fetched by bare aiokafka, with nothing done about them.

Two processes, one for each end, at the rates that workers see. It is what a record costs before the project has done
anything, so the records of a request times this are what its orchestration cannot be below, as long as each record is
a wake-up of its own. At higher rates records come together, and share one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from alto_streams.parts import bootstrap_servers
from loadtest.client_worker import PARTITIONS, SIZE
from loadtest.kafka import Kafka, kafka_version
from loadtest.machine import ROOT, commit, machine

RATES = (16.0, 64.0, 640.0)  # of one worker at 4 requests/s, of the busiest one, and of all of them together
PRODUCED, FETCHED = 157, 135  # for one request of the reference workload: rows are only read back after a crash
SECONDS, QUICK_SECONDS = 15.0, 4.0
WITHIN_S = 120.0


class ClientCostFailed(Exception):
    """The benchmark could not be carried out; says which end failed, and what it said."""


def measure(seconds: float, tick: Callable[[str], object] = lambda what: None) -> dict[str, Any]:
    """Milliseconds of processor time of a record at each end, by rate; `of_a_request_ms`: both, for all its records.

    Raises:
        ClientCostFailed: one of the two processes failed.
        Unavailable: this machine cannot run Apache Kafka.
    """
    before = machine()
    with tempfile.TemporaryDirectory(prefix="alto-client-") as name:
        kafka = Kafka(Path(name), steady=True)
        try:
            tick("starting")
            kafka.start()
            found = asyncio.run(_run(kafka.url, seconds, tick))
        finally:
            kafka.stop()
    settings = {"seconds": seconds, "partitions": PARTITIONS, "bytes": SIZE, "produced": PRODUCED, "fetched": FETCHED}
    return {
        "rates": found,
        "broker": f"Apache Kafka {kafka_version()}",
        "machine": before,
        "commit": commit(),
        "settings": settings,
    }


async def _run(broker: str, seconds: float, tick: Callable[[str], object]) -> dict[str, dict[str, float]]:
    found, servers = {}, bootstrap_servers(broker)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        for rate in RATES:
            tick(f"{rate:g} records/s")
            topic, count = f"client-{rate:g}", round(rate * seconds)
            await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
            arguments = [",".join(servers), topic, f"{rate}", f"{count}"]
            produce, fetch = await asyncio.gather(_end("produce", arguments), _end("fetch", arguments))
            of_request = produce * PRODUCED + fetch * FETCHED
            found[f"{rate:g}"] = {
                "produce_ms": round(produce, 3),
                "fetch_ms": round(fetch, 3),
                "of_a_request_ms": round(of_request, 1),
            }
    finally:
        await admin.close()
    return found


async def _end(which: str, arguments: list[str]) -> float:
    """The milliseconds for each record at one end."""
    command = [sys.executable, "-m", "loadtest.client_worker", which, *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=ROOT)
    try:
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()
    except TimeoutError:
        raise ClientCostFailed(f"{which}: it has not ended within {WITHIN_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ClientCostFailed(f"{which}: {err.decode(errors='replace')[-2000:]}")
    return float(json.loads(out))
