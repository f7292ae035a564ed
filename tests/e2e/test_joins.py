"""Claims with 0, 1, 2 and 5 queries are judged by exactly their own evidence, and malformed output closes every scope.

The prompt of a verdict names its claim and all of its evidence, and nothing is recorded for any other: a join that took
a passage of another claim, or left one out, would end in a call that its engine rejects.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alto_streams.client import Client
from alto_streams.wire.records import EventKind, Mode
from tests.broker.brokers import Server
from tests.e2e.systems import up
from tests.simulation.script import QUERIES, Script, write_script

ROOT = Path(__file__).parents[2]
REQUESTS, AT_ONCE, MALFORMED = 40, 8, 0.054


def recorded(folder: Path) -> tuple[Path, list[Script]]:
    """What the models say, and what must come of it."""
    rng, outputs = random.Random(10), dict[str, dict[str, str]]()
    scripts = [write_script(f"r{n}", Mode.STREAM, rng, malformed=MALFORMED) for n in range(REQUESTS)]
    for script in scripts:
        for (stage, prompt), text in script.outputs.items():
            outputs.setdefault(stage, {})[prompt] = text
    path = folder / "script.json"
    path.write_bytes(msgspec.json.encode(outputs))
    return path, scripts


async def result(client: Client, script: Script, slots: asyncio.Semaphore) -> dict[str, Any]:
    """What the request ends with."""
    async with slots:
        request = await client.submit("factcheck", {"prompt": script.prompt})
        async for event in client.events(request):
            if event.kind is EventKind.DONE:
                assert event.body["status"] == "ok", event.body
                found: dict[str, Any] = event.body["result"]
                return found
    raise AssertionError(f"{script.prompt} has no end")


async def all_results(gateway: str, scripts: list[Script]) -> list[dict[str, Any]]:
    slots = asyncio.Semaphore(AT_ONCE)
    async with Client([gateway]) as client:
        return await asyncio.gather(*(result(client, script, slots) for script in scripts))


def test_every_claim_is_judged_by_its_own_evidence(kafka: Server, tmp_path: Path) -> None:
    path, scripts = recorded(tmp_path)
    counts = Counter(
        text.count("\n") for script in scripts for (stage, _), text in script.outputs.items() if stage == "queries"
    )
    assert set(counts) == set(QUERIES)
    lines = [line for script in scripts for text in script.outputs.values() for line in text.splitlines()]
    assert round(sum(line.startswith("!") for line in lines) / len(lines), 3) == pytest.approx(MALFORMED, abs=0.002)
    env = {
        "PYTHONPATH": str(ROOT),
        "ALTO_PIPELINES": "tests.e2e.joining",
        "ALTO_MODELS": f"chat=scripted:{path},judge=scripted:{path}",
        "ALTO_BROKER": kafka.url,
        "ALTO_SESSION_TIMEOUT_S": "6",
    }
    with up(tmp_path, env, "--workers-per-stage", "2") as running:
        results = asyncio.run(all_results(running.gateway, scripts))
    for script, found in zip(scripts, results, strict=True):
        assert found["claims"] == script.claims
        assert found["verdicts"] == script.verdicts
        assert set(found["failures"]) == set(script.failures)
