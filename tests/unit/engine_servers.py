"""Real HTTP servers for the engine tests: a small one that speaks vLLM's dialect, and the local engine's process."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

METRICS = Path(__file__).with_name("vllm_metrics.txt").read_text()  # of vLLM 0.32, with three calls running
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
    """Answers every chat with the same text as vLLM would stream it, and under another `owner` as SGLang would.

    A token is half a character above U+FFFF, or a whole one below; its id is its UTF-16 unit. `fault`: what it does
    instead, by name. `bodies`: what it was sent. `open`: streams that are running now; `most`: it takes no more.
    `gate`: while it is clear, streams wait after their first token. `others`: calls that run besides, by its metrics;
    None: it has no such page. `asked`: how often that was asked for.
    """

    fault: str = ""
    owner: str = "vllm"
    text: str = RECORDED
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: int = 0
    most: int = 1000
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    others: int | None = 0
    asked: int = 0

    def app(self) -> Starlette:
        self.gate.set()
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/metrics", self.metrics),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/completions", self.chat, methods=["POST"]),
                Route("/tokenize", self.tokenize, methods=["POST"]),
                Route("/detokenize", self.detokenize, methods=["POST"]),
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
        if self.open >= self.most:
            return JSONResponse({}, status_code=503, headers={"Retry-After": "0.05"})
        if self.fault in ("429", "503"):
            return JSONResponse({}, status_code=int(self.fault), headers={"Retry-After": "7"})
        if self.fault in ("400", "422", "404", "500"):
            quoting = {"error": {"message": body["messages"][-1]["content"], "type": "BadRequestError"}}
            return JSONResponse(quoting, status_code=int(self.fault))
        if self.fault == "html":
            return Response("<html>", media_type="text/html")
        return StreamingResponse(self._stream(body), media_type="text/event-stream")

    async def metrics(self, request: Request) -> Response:
        self.asked += 1
        if self.fault == "metrics hang":
            await asyncio.Event().wait()
        if self.others is None or self.owner != "vllm":
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        return Response(metrics(self.open + self.others))

    async def tokenize(self, request: Request) -> Response:
        body = await request.json()
        opened = body["messages"][-1]["content"] if body.get("continue_final_message") else ""
        return JSONResponse({"tokens": [*PROMPT, *_tokens(opened)]})

    async def detokenize(self, request: Request) -> Response:
        return JSONResponse({"prompt": _text((await request.json())["tokens"])})

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        self.open += 1
        try:
            async for event in self._events(body):
                yield f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n"
        finally:
            self.open -= 1

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[Any]:
        text, finish = self._answer(body), "stop"
        for stop in body.get("stop", []):
            before, found, _ = text.partition(stop)
            text = before + (found if body.get("include_stop_str_in_output") else "")
        tokens = _tokens(text)
        if len(tokens) > body["max_tokens"]:
            tokens, finish = tokens[: body["max_tokens"]], "length"
        if self.fault == "503 in the stream":
            yield {"error": {"message": text, "code": 503}}
            return
        if "messages" in body:
            yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
        for number in range(len(tokens)):
            yield self._token(tokens, number, body)
            await self.gate.wait()
            if number == 3 and self.fault == "death":
                raise ConnectionResetError
            if number == 3 and self.fault == "cut":
                return
            if number == 3 and self.fault == "error":
                yield {"error": {"message": text, "code": 500}}
                return
        ending = {"text": ""} if "prompt" in body else {"delta": {}}
        yield {"choices": [{"index": 0, **ending, "finish_reason": finish}]}
        usage = {"prompt_tokens": 9, "completion_tokens": len(tokens), "prompt_tokens_details": {"cached_tokens": 5}}
        yield {"choices": [], "usage": usage}
        yield "[DONE]"

    def _answer(self, body: dict[str, Any]) -> str:
        """What it has to write: one of the choices, or what follows the text that it continues."""
        guide = body.get("structured_outputs", {})
        if "choice" in guide:
            return str(guide["choice"][0])
        if "regex" in body:  # SGLang's choices
            return str(body["regex"]).split("|")[0].strip("()").replace("\\", "")
        if "prompt" in body:
            return self.text.removeprefix(_text(body["prompt"][len(PROMPT) :]))
        begun = body["messages"][-1]["content"] if body.get("continue_final_message") else ""
        return self.text.removeprefix(begun)

    def _token(self, tokens: list[int], number: int, body: dict[str, Any]) -> Any:
        token, choice = tokens[number], dict[str, Any]()
        said = chr(token)
        if 0xDC00 <= token < 0xE000:
            said = _text(tokens[number - 1 : number + 1])
        elif 0xD800 <= token < 0xDC00:
            said = ""  # no text until the character is whole
        if body.get("logprobs"):
            if "prompt" in body:
                choice["logprobs"] = {"tokens": [said], "token_logprobs": [-1.0], "top_logprobs": [{"?": -0.5}]}
            else:
                top = [{"token": "?", "logprob": -0.5}]
                choice["logprobs"] = {"content": [{"token": said, "logprob": -1.0, "top_logprobs": top}]}
        if body.get("return_token_ids"):
            choice["token_ids"] = [token]
        event = {
            "choices": [{"index": 0, **({"text": said} if "prompt" in body else {"delta": {"content": said}})} | choice]
        }
        if body.get("stream_options", {}).get("continuous_usage_stats"):
            event["usage"] = {"prompt_tokens": 9, "completion_tokens": number + 1}  # type: ignore[assignment]
        return event


PROMPT = [1, 2, 3]


def metrics(running: int) -> str:
    """vLLM's page while so many calls run."""
    name = 'vllm:num_requests_running{engine="0",model_name="m"}'
    return METRICS.replace(f"{name} 3.0", f"{name} {running:.1f}")


def _tokens(text: str) -> list[int]:
    units = text.encode("utf-16-be")
    return [int.from_bytes(units[place : place + 2]) for place in range(0, len(units), 2)]


def _text(tokens: list[int]) -> str:
    return b"".join(token.to_bytes(2) for token in tokens).decode("utf-16-be", "replace")


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
        async with asyncio.timeout(60):
            await process.wait()
