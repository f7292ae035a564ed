"""An engine that is away, and one that refuses the key: `up`, `/healthz`, `ask` and the events say so, and why."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from alto_streams.worker.tcp_ports import free_ports
from tests.e2e.systems import Process, up, wait_for
from tests.unit.engine_servers import FakeVllm, serving

TEXT = "Paris is the capital of France."
AWAY, REFUSED = "cannot be reached", "HTTP 401: it refuses the API key"


def health(gateway: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{gateway}/healthz", timeout=60).json()
    return found


async def test_each_is_named_with_its_reason_until_it_answers(tmp_path: Path) -> None:
    chat, judge = free_ports(2)
    models = ",".join(
        f"{name}=openai:http://127.0.0.1:{port}/v1#m" for name, port in (("chat", chat), ("judge", judge))
    )
    refusing = FakeVllm(fault="key", text=TEXT)
    async with serving(refusing.app(), judge):
        starting = up(tmp_path, {"ALTO_MODELS": models})
        system = await asyncio.to_thread(starting.__enter__)
        try:
            said = system.process.said()
            assert f"model chat: engine http://127.0.0.1:{chat}/v1 (m): {AWAY}" in said
            assert f"model judge: engine http://127.0.0.1:{judge}/v1 (m): {REFUSED}" in said

            def told() -> bool:
                found = health(system.gateway)
                causes = {model: str(said.get("detail")) for model, said in found["engines"].items()}
                is_told = causes["chat"].startswith(AWAY) and causes["judge"].startswith(REFUSED)
                return is_told and found["status"] == "degraded"

            await asyncio.to_thread(wait_for, told, lambda: str(health(system.gateway)), 60.0)
            await asyncio.to_thread(system.process.wait_said, rf"model judge waits: engine .*{REFUSED}", 60.0)

            def answer_again() -> bool:
                return all(each["reachable"] for each in health(system.gateway)["engines"].values())

            asking = Process("ask", ["ask", "What is the capital of France?"], tmp_path, {})
            events = Process("events", ["ask", "--json", "What is the capital of France?"], tmp_path, {})
            try:
                for model, why in (("chat", AWAY), ("judge", REFUSED)):
                    await asyncio.to_thread(
                        asking.wait_said, rf"waiting: the engine of model {model} \(.*\): {why}", 60.0
                    )
                await asyncio.to_thread(events.wait_said, r'"kind":"waiting"', 60.0)
                refusing.fault = ""
                async with serving(FakeVllm(text=TEXT).app(), chat):
                    assert await asyncio.to_thread(asking.wait) in (0, 1), asking.said()
                    assert TEXT in asking.said()
                    await asyncio.to_thread(events.wait)
                    await asyncio.to_thread(wait_for, answer_again, lambda: str(health(system.gateway)), 60.0)
                    await asyncio.to_thread(system.process.wait_said, r"model chat: its engine answers again", 60.0)
            finally:
                for each in (asking, events):
                    if each.runs:
                        each.kill()
            lines = [json.loads(line) for line in events.said().splitlines() if line.startswith("{")]
            waits = [line["body"]["waits_for"] for line in lines if line.get("kind") == "waiting"]
            assert all(one != after for one, after in pairwise(waits)), "once, and when it changes"
            assert {each["model"] for each in waits[0]} <= {"chat", "judge"}
            assert lines[-1]["kind"] == "done"
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
