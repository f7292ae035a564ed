"""An OpenAI-compatible server that writes slowly, and notes when each of its streams begins and when it is broken off.

What counts for a cancel is the engine: a call is over once the engine knows that nobody wants it any more. As vLLM
does, it learns of that from the connection, not from the next token that it cannot deliver.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

HOST = "127.0.0.1"
START_S = 10.0


@dataclass(slots=True)
class Stream:
    """One call as the engine saw it; times are of the monotonic clock, in seconds. `own`: its last turn."""

    stage: str
    own: str
    began_s: float
    ended_s: float | None = None


@dataclass
class SlowEngine:
    """`lines(stage, own)`: what a call writes at once; after that, a word every `every_s`, until it is broken off."""

    lines: Callable[[str, str], str]
    every_s: float = 0.25
    streams: list[Stream] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves on a free port; its base address, ending in /v1."""
        listener = socket.socket()
        listener.bind((HOST, 0))
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(START_S):
                while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.01)
            yield f"http://{HOST}:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await task
            listener.close()

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"data": [{"id": "slow", "owned_by": "vllm", "max_model_len": 1 << 20}]})

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        return _Writing(self, body)

    def begin(self, body: dict[str, Any]) -> Stream:
        """Notes a call."""
        first, *_, last = (turn["content"] for turn in body["messages"])
        stream = Stream(first, last, time.monotonic())
        self.streams.append(stream)
        return stream


class _Writing(Response):
    """One streamed reply."""

    def __init__(self, engine: SlowEngine, body: dict[str, Any]) -> None:
        super().__init__()
        self._engine, self._body = engine, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._body["max_tokens"] == 1:  # a warm-up
            return await JSONResponse({}, 400)(scope, receive, send)
        stream = self._engine.begin(self._body)
        writing = asyncio.create_task(self._write(send, self._engine.lines(stream.stage, stream.own)))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stream.ended_s = time.monotonic()
            for task in (writing, gone):
                task.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await task

    async def _write(self, send: Send, lines: str) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _event(lines), "more_body": True})
        while True:
            await asyncio.sleep(self._engine.every_s)
            await send({"type": "http.response.body", "body": _event("word "), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
