"""What the gateway's tests share: a pipeline, a log in memory, events, and a gateway as a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
from fastapi import FastAPI

from alto_streams.agents.egress.publisher import PublishedEvent
from alto_streams.errors import PartDown
from alto_streams.gateway import PipelineInfo, create_gateway
from alto_streams.local import ping
from alto_streams.settings import Settings
from alto_streams.wire.records import Event, EventKind, Raw, Request
from alto_streams.worker.tcp_ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = "questions"
LATE_S = 60.0


class Question(msgspec.Struct, forbid_unknown_fields=True):
    prompt: str
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1


PIPELINES = {PIPELINE: PipelineInfo(PIPELINE, Question, "report", {"answer": 1, "claims": 2})}


class ListLog:
    """A log in memory; `refusal` makes it one that cannot be reached."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.cancels: list[tuple[str, ...]] = []
        self.refusal: PartDown | None = None

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def down(self) -> PartDown | None:
        return self.refusal

    async def send_request(self, request: Request) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.requests.append(request)

    async def send_cancel(self, pipeline: str, root_stage: str, request: str, stage: str = "", path: str = "") -> None:
        if self.refusal is not None:
            raise self.refusal
        self.cancels.append((pipeline, root_stage, request, *([stage, path] if stage else [])))


def settings_for(redis: str, **more: Any) -> Settings:
    return Settings(_env_file=None, redis=redis, **more)  # type: ignore[call-arg]


@asynccontextmanager
async def in_process(settings: Settings, log: ListLog) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway in this process. Its event streams are heard only once they have ended."""
    app: FastAPI = create_gateway(settings, PIPELINES, log)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=LATE_S) as http:
            yield http


class GatewayProcess:
    """`tests/gateway/process.py` on a port of its own."""

    def __init__(self, folder: Path, broker: str, redis: str) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"gateway-{self.port}.log"
        own = {"ALTO_BROKER": broker, "ALTO_REDIS": redis, "ALTO_GATEWAY_PORT": str(self.port)}
        own |= {"ALTO_SEND_TIMEOUT_S": "2", "ALTO_KEEPALIVE_S": "0.2"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.gateway.process"],
                cwd=ROOT,
                env=os.environ | own,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        if not ping.wait_until(lambda: ping.http_answers("127.0.0.1", self.port, "/healthz"), LATE_S):
            self.kill()
            raise RuntimeError(self.log.read_text()[-2000:])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(LATE_S)


def event(request: str, number: int, kind: EventKind = EventKind.CHUNK, path: str = "", **body: Any) -> Event:
    content = Raw(msgspec.json.encode(body))
    return Event(request, kind, "answer", path, number, int(time.time() * 1000), content)


def story(request: str, chunks: int) -> list[Event]:
    """The events of one request: accepted, `chunks` pieces of text, done."""
    texts = [event(request, number, text=f"piece {number}\nof\u2028text\r") for number in range(chunks)]
    done = event(request, 0, EventKind.DONE, status="ok", result={"answer": chunks})
    return [event(request, 0, EventKind.ACCEPTED), *texts, done]


class Results:
    """One partition of `results` in memory, and what a rebuild reads of it."""

    def __init__(self) -> None:
        self.records: list[PublishedEvent] = []
        self.replays: list[tuple[int, int]] = []

    def append(self, *events: Event) -> list[PublishedEvent]:
        new = [PublishedEvent(0, len(self.records) + at, each) for at, each in enumerate(events)]
        self.records += new
        return new

    async def replay(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[PublishedEvent]]:
        self.replays.append((start, stop))
        for at in range(start, stop, 7):
            yield self.records[at : min(at + 7, stop)]


async def eventually(check: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + LATE_S
    while not await check():
        assert time.monotonic() < deadline, f"not within {LATE_S:g} s: {what}"
        await asyncio.sleep(0.02)
