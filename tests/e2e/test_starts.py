"""Parts that start before the parts they need: each says what it waits for and where, and nothing accepted is lost."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from alto_streams.client import Client
from alto_streams.local import ping
from alto_streams.log import topic_admin
from alto_streams.log.topics_file import load_topics
from alto_streams.wire.records import EventKind
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, Server, Valkey
from tests.e2e.systems import Process, process, up, wait_for, write_rows
from tests.unit.engine_servers import FakeVllm, serving

ROW = {
    "id": "late",
    "prompt": "What is the capital of France?",
    "response": "The capital of France is Paris.",
    "claims": [{"claim": "The capital of France is Paris", "label": True}],
}


def wait_ready(worker: Process, port: int) -> None:
    wait_for(lambda: ping.http_answers(HOST, port, "/ready"), worker.said)


def wait_logged(log: Path, text: str) -> None:
    wait_for(lambda: log.exists() and text in log.read_text(), lambda: log.read_text() if log.exists() else f"no {log}")


def broker_health(gateway_port: int) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"http://{HOST}:{gateway_port}/healthz", timeout=60).json()["parts"]["broker"]
    return answer


def test_workers_and_gateway_wait_for_a_broker_that_is_late(kafka: Server, tmp_path: Path) -> None:
    """They name its address, go on trying, and are ready once it is there."""
    broker = kafka
    asyncio.run(topic_admin.apply(broker.url, load_topics().specs))
    broker.stop()
    script = write_rows(tmp_path / "script.jsonl", [ROW])
    parts = {"stage": ["worker", "claims"], "model": ["worker", "--model", "judge"], "gateway": ["gateway"]}
    ports = dict(zip(parts, free_ports(len(parts)), strict=True))
    env = {"ALTO_BROKER": broker.url, "ALTO_MODELS": f"judge=scripted:{script}"}
    try:
        with ExitStack() as stack:
            started = {}
            for part, arguments in parts.items():
                port = {"ALTO_WORKER_PORT": str(ports[part]), "ALTO_GATEWAY_PORT": str(ports[part])}
                started[part] = stack.enter_context(process(part, arguments, tmp_path, env | port))
            for part, each in started.items():
                said = rf"broker at (kafka://)?{HOST}:{broker.port}.*trying again in [0-9.]+ s"
                each.wait_said(rf"(?s){said}.*{said}")
                assert each.runs, part
            health = broker_health(ports["gateway"])
            assert health["reachable"] is False
            assert "ALTO_BROKER" in health["remedy"]
            broker.start()
            for part in ("stage", "model"):
                wait_ready(started[part], ports[part])
            wait_for(lambda: broker_health(ports["gateway"])["reachable"] is True, started["gateway"].said)
            for part, each in started.items():
                assert each.stop() == 0, f"{part}: {each.said()}"
                assert "Traceback" not in each.said(), each.said()
    finally:
        if not broker.alive:
            broker.start()


def test_a_system_without_its_broker_says_so(tmp_path: Path) -> None:
    away = f"kafka://{HOST}:{free_ports(1)[0]}"
    port = str(free_ports(1)[0])
    with process("up", ["up", "--port", port], tmp_path, {"ALTO_BROKER": away, "ALTO_MODELS": "chat=local"}) as failing:
        assert failing.wait() != 0
        assert away in failing.said()
        assert "ALTO_BROKER" in failing.said()
        assert "Traceback" not in failing.said()


async def test_what_is_accepted_waits_for_redis_and_the_engine(tmp_path: Path) -> None:
    """Redis and the engine of the answer come up after the request was accepted; it ends as if they had been there."""
    redis = Valkey("late", tmp_path)
    script = write_rows(tmp_path / "script.jsonl", [ROW])
    engine = free_ports(1)[0]
    models = f"chat=openai:http://{HOST}:{engine}/v1#m,judge=scripted:{script}"
    starting = up(tmp_path, {"ALTO_REDIS": redis.url, "ALTO_MODELS": models})
    system = await asyncio.to_thread(starting.__enter__)
    try:
        async with Client([system.gateway]) as client:
            request = await client.submit("factcheck", {"prompt": ROW["prompt"]})
            for part, address in (("lm-chat", f"engine http://{HOST}:{engine}/v1"), ("egress", f"{HOST}:{redis.port}")):
                await asyncio.to_thread(wait_logged, tmp_path / "var" / "logs" / f"{part}.log", address)
            await asyncio.to_thread(redis.start)
            async with serving(FakeVllm(text=str(ROW["response"])).app(), engine), asyncio.timeout(100):
                events = [event async for event in client.events(request)]
        assert events[-1].kind is EventKind.DONE
        assert events[-1].body["status"] == "ok"
        text = "".join(event.body["text"] for event in events if event.kind is EventKind.CHUNK)
        assert text == ROW["response"]
        assert [claim["verdict"] for claim in events[-1].body["result"]["claims"]] == [True]
        numbers = [event.id for event in events]
        assert numbers == sorted(set(numbers))
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)
        redis.kill()
