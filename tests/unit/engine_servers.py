"""Real HTTP servers for the engine tests: a small one that speaks vLLM's dialect, and the local engine's process."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

RECORDED = "The sun is a star. It shines.\nDie Erde 🌍 dreht sich é."


async def until(condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    """Go on as soon as the condition holds."""
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():  # noqa: ASYNC110 - conditions of other processes have no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never within {deadline_s} s: {what}") from None


@dataclass
class FakeVllm:
    """Answers every chat with the same text, one character a token, as vLLM would stream it.

    `fault`: what it does instead, by name. `bodies`: what it was sent. `open`: streams that are running now.
    `gate`: while it is clear, streams wait after their first token.
    """

    fault: str = ""
    owner: str = "vllm"
    text: str = RECORDED
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Starlette:
        self.gate.set()
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ]
        )

    async def models(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        if self.fault == "key":
            return JSONResponse({"error": {"message": "no"}}, status_code=401)
        return JSONResponse({"data": [{"id": "m", "owned_by": self.owner, "max_model_len": 512}]})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.fault in ("429", "503"):
            return JSONResponse({}, status_code=int(self.fault), headers={"Retry-After": "7"})
        if self.fault in ("400", "422", "404", "500"):
            quoting = {"error": {"message": body["messages"][-1]["content"], "type": "BadRequestError"}}
            return JSONResponse(quoting, status_code=int(self.fault))
        if self.fault == "html":
            return Response("<html>", media_type="text/html")
        return StreamingResponse(self._stream(body), media_type="text/event-stream")

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        self.open += 1
        try:
            async for event in self._events(body):
                yield f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n"
        finally:
            self.open -= 1

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[Any]:
        text, finish = self.text, "stop"
        if body.get("structured_outputs", {}).get("choice"):
            text = body["structured_outputs"]["choice"][0]
        elif body.get("continue_final_message"):
            text = text.removeprefix(body["messages"][-1]["content"])
        for stop in body.get("stop", []):
            text = text.partition(stop)[0]
        if len(text) > body["max_tokens"]:
            text, finish = text[: body["max_tokens"]], "length"
        yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
        for number, letter in enumerate(text):
            for event in self._letter(letter, body):
                if isinstance(event, dict) and body.get("stream_options", {}).get("continuous_usage_stats"):
                    event["usage"] = {"prompt_tokens": 9, "completion_tokens": number + 1}
                yield event
            await self.gate.wait()
            if number == 3 and self.fault == "death":
                raise ConnectionResetError
            if number == 3 and self.fault == "cut":
                return
            if number == 3 and self.fault == "error":
                yield {"error": {"message": text, "code": 500}}
                return
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        details = {"cached_tokens": 5}
        yield {
            "choices": [],
            "usage": {"prompt_tokens": 9, "completion_tokens": len(text), "prompt_tokens_details": details},
        }
        yield "[DONE]"

    def _letter(self, letter: str, body: dict[str, Any]) -> list[Any]:
        found = None
        if body.get("logprobs"):
            top = [{"token": "?", "logprob": -0.5}]
            found = {"content": [{"token": letter, "logprob": -1.0, "top_logprobs": top}]}
        if ord(letter) < 0x10000:
            return [{"choices": [{"index": 0, "delta": {"content": letter}, "logprobs": found}]}]
        # The two halves of a surrogate pair, in two events.
        units = letter.encode("utf-16-be")
        halves = [f"\\u{units[i : i + 2].hex()}" for i in (0, 2)]
        return [f'{{"choices":[{{"index":0,"delta":{{"content":"{half}"}}}}]}}' for half in halves]


@asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[str]:
    """A uvicorn server, on a free port unless one is given; its base address ending in /v1."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started or task.done(), "the test server has started")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def local_process(*arguments: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """`python -m alto_streams.models.local` on a free port, and its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alto_streams.models.local", "--port", "0", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        yield json.loads(line)["address"], process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.wait()
