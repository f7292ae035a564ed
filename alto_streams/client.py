"""A client of the gateway: submits requests, and hears each event once and in order whatever happens on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse

from alto_streams.errors import EventsLost, PartDown, ProblemError
from alto_streams.parts import Backoff
from alto_streams.wire.client_event import ClientEvent as ClientEvent
from alto_streams.wire.records import EventKind, Mode

CONNECT_S = 5.0
ANSWER_S = 30.0
STEADY_S = 1.0  # a stream that was open for so long was a gateway's answer
SILENCE_S = 60.0  # longer than the gateway's keep-alive comments are apart
REMEDY = "start it with `alto-streams up`, or point at it with `--gateway http://HOST:PORT`"


class _Data(msgspec.Struct):
    stage: str
    path: str
    number: int
    at_ms: int
    body: Any


_read_data = msgspec.json.Decoder(_Data)


class Client:
    """Talks to one of several gateways, and to the next when one is away. Use it as an async context manager.

    `give_up_s`: how long no gateway may answer before `PartDown` is raised.
    """

    def __init__(self, gateways: Sequence[str], give_up_s: float = 30.0) -> None:
        if not gateways:
            raise ValueError("a client needs the address of a gateway")
        self._gateways = [address.rstrip("/") for address in gateways]
        self._at = 0
        self._give_up_s = give_up_s
        self._submitted: set[str] = set()
        # Each open event stream holds a connection: the caller bounds how many it opens.
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S), limits=limits)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def submit(
        self,
        pipeline: str,
        input: Any,
        mode: Mode = Mode.STREAM,
        deadline: float | str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Submits a request and returns its id. `deadline`: seconds from now, or an RFC 3339 time.

        Tries again only with an idempotency key, or when nothing was sent: else it may have been accepted.

        Raises:
            ProblemError: the gateway refused it.
            PartDown: no gateway answered.
        """
        body = {"pipeline": pipeline, "input": input, "mode": mode}
        if deadline is not None:
            body["deadline"] = deadline
        if idempotency_key is not None:
            body["idempotency_key"] = idempotency_key
        again = idempotency_key is not None
        answer = await self._ask("POST", "/v1/requests", content=msgspec.json.encode(body), is_repeatable=again)
        self._submitted.add(answer["id"])
        return str(answer["id"])

    async def get(self, request: str) -> dict[str, Any]:
        """The status of a request and, once it has ended, its result. Raises as `submit`."""
        return await self._ask("GET", f"/v1/requests/{request}")

    async def pipelines(self) -> list[dict[str, Any]]:
        """The pipelines that the gateway serves, each with its `name` and the JSON Schema of its `request`.

        Raises as `submit`.
        """
        answer = await self._ask("GET", "/v1/pipelines")
        return list(answer["pipelines"])

    async def requests(
        self, pipeline: str | None = None, state: str | None = None, before: str | None = None, limit: int = 50
    ) -> dict[str, Any]:
        """A page of the requests that gateways have accepted, newest first: `requests`, and `next` for `before`.

        Raises as `submit`.
        """
        asked = {"pipeline": pipeline, "state": state, "before": before, "limit": limit}
        given = {name: each for name, each in asked.items() if each is not None}
        return await self._ask("GET", "/v1/requests", params=given)

    async def cancel(self, request: str, pipeline: str | None = None, stage: str = "", path: str = "") -> None:
        """Asks for the end of a request; its last event tells how it ended. Raises as `submit`.

        With a stage and a path, as events name them: for the end of that item and all that derives from it.
        `pipeline` is needed only where Redis has lost the request.
        """
        item = f"/items/{quote(stage, safe='')}/{quote(path)}" if stage else ""
        named = {"pipeline": pipeline} if pipeline else None
        await self._ask("DELETE", f"/v1/requests/{quote(request, safe='')}{item}", params=named)

    async def events(
        self, request: str, last_event_id: int | None = None, *, waiting: bool = False
    ) -> AsyncIterator[ClientEvent]:
        """Every event after `last_event_id`, once and in order, up to `done`; reconnects, at the next gateway too.

        `waiting`: also, with the id -1, which engines the request waits for and why, whenever that changes.

        Raises:
            ProblemError: the gateway refuses the request (unknown, or finished and forgotten).
            EventsLost: events were dropped that this client has not heard.
            PartDown: no gateway has answered for `give_up_s`.
        """
        last = -1 if last_event_id is None else last_event_id
        trouble = _Trouble(self._give_up_s)
        while True:
            try:
                async with aclosing(self._connected(request, last, trouble)) as heard:
                    async for event in heard:
                        if event.kind is EventKind.WAITING and waiting:
                            yield event
                        if event.id > last:
                            last = event.id
                            yield event
                            if event.kind is EventKind.DONE:
                                self._submitted.discard(request)
                                return
                trouble.note("it ended the stream before the last event")
            except ProblemError as refusal:
                is_lost = refusal.status == 404 and (last >= 0 or request in self._submitted)
                if refusal.status != 503 and not is_lost:
                    raise
                trouble.note(str(refusal), refusal)
            except (httpx.TransportError, SSEError) as error:
                trouble.note(f"{type(error).__name__}")
            await self._move_on(trouble)

    async def _connected(self, request: str, last: int, trouble: _Trouble) -> AsyncGenerator[ClientEvent, None]:
        url = f"{self._gateways[self._at]}/v1/requests/{request}/events"
        headers = {} if last < 0 else {"Last-Event-ID": str(last)}
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        async with aconnect_sse(self._http, "GET", url, headers=headers, timeout=timeout) as source:
            if source.response.status_code == 204:  # `done` had been heard
                raise EventsLost(f"request {request}: it ended at or before event {last}")
            if source.response.status_code != 200:
                await source.response.aread()
                raise _problem(source.response)
            opened = time.monotonic()
            try:
                async for framed in source.aiter_sse():
                    if framed.event == "truncated":
                        raise EventsLost(f"request {request}: events after {last} are no longer kept")
                    if framed.data:
                        trouble.reset()
                        yield _event(framed)
            finally:
                if time.monotonic() - opened >= STEADY_S:
                    trouble.reset()  # this gateway did answer, up to now, though there was nothing to tell

    async def _ask(self, method: str, path: str, is_repeatable: bool = True, **more: Any) -> dict[str, Any]:
        trouble = _Trouble(self._give_up_s)
        untried = len(self._gateways)
        while True:
            url = self._gateways[self._at] + path
            try:
                response = await self._http.request(method, url, headers={"Content-Type": "application/json"}, **more)
                if response.is_success:
                    answer: dict[str, Any] = msgspec.json.decode(response.content)
                    return answer
                refusal = _problem(response)
                if refusal.status != 503:
                    raise refusal
                if not is_repeatable:
                    raise refusal
                trouble.note(str(refusal), refusal)
            except msgspec.DecodeError:
                raise self._down("what answers there is no gateway") from None
            except httpx.TransportError as error:
                trouble.note(f"no connection ({type(error).__name__})")
                untried -= 1
                is_unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if untried <= 0 or not (is_unsent or is_repeatable):
                    raise self._down(trouble.detail) from None
            await self._move_on(trouble)

    async def _move_on(self, trouble: _Trouble) -> None:
        if trouble.is_over():
            raise trouble.refusal or self._down(trouble.detail)
        self._at = (self._at + 1) % len(self._gateways)
        await asyncio.sleep(trouble.backoff.next_s())

    def _down(self, detail: str) -> PartDown:
        return PartDown("gateway", ", ".join(self._gateways), detail, REMEDY)


class _Trouble:
    """How long nothing has gone well, and what was last seen."""

    def __init__(self, give_up_s: float) -> None:
        self._give_up_s = give_up_s
        self.reset()

    def reset(self) -> None:
        self.backoff = Backoff()
        self.detail = "no answer"
        self.refusal: ProblemError | None = None
        self._since = time.monotonic()

    def note(self, detail: str, refusal: ProblemError | None = None) -> None:
        self.detail, self.refusal = detail, refusal

    def is_over(self) -> bool:
        return time.monotonic() - self._since >= self._give_up_s


def _problem(response: httpx.Response) -> ProblemError:
    try:
        document = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        document = {"detail": f"HTTP {response.status_code} from {response.url.host}:{response.url.port}, no gateway"}
    return ProblemError(response.status_code, document)


def _event(framed: ServerSentEvent) -> ClientEvent:
    data = _read_data.decode(framed.data)
    number = -1 if framed.event == EventKind.WAITING else int(framed.id)
    return ClientEvent(number, EventKind(framed.event), *msgspec.structs.astuple(data))
