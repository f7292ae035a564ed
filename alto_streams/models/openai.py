"""Any OpenAI-compatible HTTP server (vLLM, llama.cpp, ...), by streaming chat completions.

A run is one HTTP request; closing its stream aborts it in the server. What servers do differently is in `dialects`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx
import httpx_sse
import msgspec

from alto_streams.errors import EngineUnavailable
from alto_streams.models import dialects, guides
from alto_streams.models.http_errors import refused, transport_errors
from alto_streams.models.metrics import LoadPage
from alto_streams.models.pieces import Reader
from alto_streams.models.protocol import Capabilities, EngineLoad, Piece
from alto_streams.models.stops import Stops
from alto_streams.wire.records import Call, Message

Json = dict[str, Any]

_CONNECT_S = 5.0
_PROBE_S = 10.0


class OpenAIEngine:
    """A server at `base_url` (ending in `/v1`), asked for `model` (empty: the first one that it lists).

    `slots`: how many calls it shall run at once. `silence_s`: how long it may send nothing within a run. `dialect`:
    detected when left out. `api_key` is sent as a bearer token and never appears in errors or logs. `context_tokens`:
    where the server tells none, or fewer shall be used. `sampling`: its parameters for what a call leaves open.
    """

    def __init__(
        self,
        base_url: str,
        model: str = "",
        *,
        slots: int = 8,
        silence_s: float = 30.0,
        dialect: dialects.Name | None = None,
        api_key: str | None = None,
        context_tokens: int | None = None,
        sampling: Mapping[str, float] | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._context_tokens, self._sampling = context_tokens, dict(sampling or {})
        self._model = model
        self._slots = slots
        self._told = dialects.DIALECTS[dialect] if dialect else None
        self._dialect = self._told
        self._capabilities: Capabilities | None = None
        self._probing = asyncio.Lock()
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(silence_s, connect=_CONNECT_S, pool=None),
            # Below the five seconds after which uvicorn, which vLLM runs on, closes an idle connection.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=slots, keepalive_expiry=2.0),
            trust_env=False,
        )
        self._page = LoadPage(self._client, f"{self._root}/metrics")

    @property
    def name(self) -> str:
        """The address and the model."""
        return f"engine {self._base}" + (f" ({self._model})" if self._model else "")

    @property
    def capabilities(self) -> Capabilities:
        """What the server told when it was ready; before that, nothing but the slots."""
        return self._capabilities or Capabilities(slots=self._slots, context_tokens=0)

    async def ready(self) -> None:
        """Ask the server for its models and learn what it can do.

        Raises:
            EngineUnavailable: it cannot be reached, refuses the key, or does not serve the model.
        """
        async with self._probing:
            await self._probe()

    async def generate(
        self,
        call: Call,
        *,
        prefix: str = "",
        prefix_tokens: list[int] | None = None,
        prompt_class: str = "",
        by_line: bool = False,
        priority: int = 0,
    ) -> AsyncGenerator[Piece, None]:
        """Stream the completion; see `Engine.generate`. `prompt_class` is not sent: the server knows prefixes itself.

        Token ids are used where the dialect offers them and the server reads them as exactly the prefix; else the
        turn continues from the text.
        """
        if self._dialect is None or self._capabilities is None:
            await self.ready()
        ended = guides.ended(call, prefix)
        if ended is not None:
            yield Piece("", finish=ended)
            return
        dialect = self._dialect or dialects.DIALECTS["openai"]
        url, body = await self._request(dialect, call, prefix, prefix_tokens)
        body = {"temperature": 0.0, **self._sampling, **body}
        reader, stops = Reader(self.name, call.logprobs > 0, dialect.tokens), Stops(call.stop, prefix)
        async with aclosing(self._events(url, body)) as events:
            async for event in events:
                piece = reader.feed(event)
                for ready in stops.feed(piece) if piece is not None else ():
                    yield ready
                if stops.complete and not stops.known:
                    yield Piece("", finish="stop")
                    return
        last = reader.last()
        for ready in stops.rest():
            yield ready
        yield msgspec.structs.replace(last, finish="stop") if stops.complete else last

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """The tokens of a prompt, its template's included; None where the server has no route that tells."""
        if self._dialect is None:
            await self.ready()
        dialect = self._dialect or dialects.DIALECTS["openai"]
        turns = [{"role": message.role, "content": message.content} for message in messages]
        if dialect.name == "openai":
            return None
        body: Json = {"model": self._model, "messages": turns}
        if dialect.name == "llama.cpp":
            body = {"content": await self._templated(messages), "add_special": True, "parse_special": True}
        told = await self._tokenized(body)
        return None if told is None else len(told)

    async def load(self) -> EngineLoad | None:
        """What the server tells of its load at `/metrics`; None where it has no such page, or does not answer now."""
        return await self._page.load(self._model, self._once)

    async def close(self) -> None:
        """Close all connections, and with them the runs that are still open."""
        await self._client.aclose()

    @property
    def _root(self) -> str:
        return self._base.removesuffix("/v1")

    @property
    def _once(self) -> dict[str, str]:
        """The header of a request whose connection is not used again, where the server would not, or may not."""
        return {} if self._dialect and self._dialect.reuses else {"Connection": "close"}

    async def _probe(self) -> None:
        models = await self._get(f"{self._base}/models")
        if models is None:
            raise EngineUnavailable("no OpenAI-compatible server there (GET /models is unknown)", self.name)
        told = self._told
        props = await self._get(f"{self._root}/props") if told is None or told.name == "llama.cpp" else None
        dialect = told or dialects.DIALECTS[dialects.detect(models, props)]
        self._choose_model(models, dialect)
        self._dialect = dialect
        able = dialects.capabilities(dialect, models, props, self._slots)
        bounds = [bound for bound in (able.context_tokens, self._context_tokens) if bound]
        self._capabilities = replace(able, context_tokens=min(bounds, default=0))

    async def _request(
        self, dialect: dialects.Dialect, call: Call, prefix: str, prefix_tokens: list[int] | None
    ) -> tuple[str, Json]:
        """The route and the body of the request that makes the call."""
        if prefix_tokens and dialect.tokens and await self._reads_as(prefix_tokens, prefix):
            prompt = await self._prompt(dialect, call)
            if prompt is not None:
                body = dialect.tokens_body(call, self._model, prompt, prefix, prefix_tokens)
                return f"{self._root}/completion" if isinstance(prompt, str) else f"{self._base}/completions", body
        return f"{self._base}/chat/completions", dialect.chat_body(call, self._model, prefix)

    async def _prompt(self, dialect: dialects.Dialect, call: Call) -> str | list[int] | None:
        """The templated prompt, as the route wants it that takes token ids; None if the server has no such route."""
        if dialect.name == "llama.cpp":
            return await self._templated(call.messages)
        turns = [{"role": message.role, "content": message.content} for message in call.messages]
        opened = bool(dialects.opened_turn(call))
        body = {"model": self._model, "messages": turns}
        return await self._tokenized(body | {"continue_final_message": opened, "add_generation_prompt": not opened})

    async def _events(self, url: str, body: Json) -> AsyncGenerator[Json, None]:
        with transport_errors(self.name):
            async with httpx_sse.aconnect_sse(self._client, "POST", url, json=body, headers=self._once) as source:
                await self._check(source.response)
                async for event in source.aiter_sse():
                    if event.data == "[DONE]":
                        return
                    # Not a faster parser: only this one takes a character whose halves come in two events.
                    decoded = json.loads(event.data)
                    if isinstance(decoded, dict):
                        yield decoded

    async def _reads_as(self, tokens: list[int], text: str) -> bool:
        """Whether these tokens are exactly this text here; those of another model of the same name are not."""
        with transport_errors(self.name):
            body = {"model": self._model, "tokens": tokens}
            response = await self._client.post(f"{self._root}/detokenize", json=body)
            told = response.json() if response.status_code < 300 else {}
            return bool(told.get("content", told.get("prompt")) == text)

    async def _tokenized(self, body: Json) -> list[int] | None:
        with transport_errors(self.name):
            response = await self._client.post(f"{self._root}/tokenize", json=body)
            if response.status_code in (404, 405, 501):
                return None
            await self._check(response)
            told = response.json().get("tokens")
            return [int(token) for token in told] if isinstance(told, list) else None

    async def _templated(self, messages: Sequence[Message]) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        with transport_errors(self.name):
            response = await self._client.post(f"{self._root}/apply-template", json={"messages": turns})
            await self._check(response)
            return str(response.json()["prompt"])

    async def _get(self, url: str) -> Json | None:
        with transport_errors(self.name):
            response = await self._client.get(url, timeout=_PROBE_S)
            if response.status_code in (404, 405, 501):
                return None
            await self._check(response)
            found = response.json()
            return found if isinstance(found, dict) else None

    async def _check(self, response: httpx.Response) -> None:
        if response.status_code >= 300:
            await response.aread()
            refused(self.name, response)

    def _choose_model(self, models: Json, dialect: dialects.Dialect) -> None:
        served = [str(model.get("id", "")) for model in models.get("data") or []]
        if not self._model and served:
            self._model = served[0]
        # llama.cpp serves its one model under whatever name it is asked for.
        if served and self._model not in served and dialect.name != "llama.cpp":
            known = ", ".join(served)
            raise EngineUnavailable(f"serves {known}; correct the name after # in ALTO_MODELS", self.name)
