"""The engines that the suite is about. `ALTO_TEST_ENGINES` names others than those that need nothing but pip."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import Engine
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.models.simulated import Timing
from tests.engines import servers
from tests.engines.in_process import InProcess
from tests.unit.engine_servers import FakeVllm, serving
from tests.unit.engines import recorded

USUAL = ("scripted", "scripted-timed", "vllm-double", "sglang-double", "local")
MODELS = ("local", "vllm-http", "vllm")  # they run real weights, so that it is not known what they say
_TOLD = os.environ.get("ALTO_TEST_ENGINES")
NAMES = tuple(_TOLD.split(",")) if _TOLD else USUAL
FULL = _TOLD is not None  # asked for by name: figures are made of as many cases as they need

_FAST = Timing(base_s=0.0005, running_s=0.0, prefill_s=0.0)


@dataclass
class Subject:
    """An engine and what a test may do to it.

    `running`: how many calls it runs, by its own word. `server`: the process that can be killed, if it has one.
    `fake`: the double that it talks to.
    """

    name: str
    engine: Engine
    running: Callable[[], Awaitable[int]] | None = None
    server: servers.EngineServer | InProcess | None = None
    fake: FakeVllm | None = None


@contextmanager
def server_of(name: str, folder: Path) -> Iterator[servers.EngineServer | InProcess | None]:
    """The process of the engine, if it has one."""
    if name == "vllm":
        yield InProcess()
        return
    made = {"local": servers.local_server, "vllm-http": servers.vllm_server}.get(name)
    if made is None:
        yield None
        return
    server = made(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def subject_of(name: str, server: servers.EngineServer | InProcess | None) -> AsyncIterator[Subject]:
    """The engine of that name."""
    if isinstance(server, InProcess):
        await server.up()
        yield Subject(name, server.engine, server.running, server)
        return
    if server is not None:
        count = {"local": servers.running_in_llama, "vllm-http": servers.running_in_vllm}[name]
        slots = servers.VLLM_SEQUENCES if name == "vllm-http" else 8
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            engine = OpenAIEngine(f"{server.root}/v1", slots=slots)
            yield Subject(name, engine, lambda: count(client, server.root), server)
            await engine.close()
    elif name.startswith("scripted"):
        scripted = ScriptedEngine(recorded, timing=_FAST if name == "scripted-timed" else None)
        yield Subject(name, scripted)
        await scripted.close()
    elif name.endswith("-double"):
        fake = FakeVllm(owner=name.removesuffix("-double"))

        async def running() -> int:
            return fake.open

        async with serving(fake.app()) as address:
            engine = OpenAIEngine(address)
            yield Subject(name, engine, running, fake=fake)
            await engine.close()
    else:
        raise AssertionError(f"ALTO_TEST_ENGINES: {name!r} is none of {', '.join((*USUAL, 'vllm-http', 'vllm'))}")
