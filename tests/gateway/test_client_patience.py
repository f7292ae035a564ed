"""When a client gives up: while no gateway answers, and not because there was nothing to tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from alto_streams import client
from alto_streams.client import Client
from alto_streams.wire.records import EventKind

OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b'id: 7\nevent: done\ndata: {"stage":"s","path":"","number":0,"at_ms":0,"body":{}}\n\n'

Tell = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def gateway(tell: Tell) -> AsyncIterator[str]:
    """What answers every request with an event stream, and closes it as `tell` returns."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OPEN)
        await tell(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def test_a_gateway_that_dies_after_a_long_silence_is_replaced_by_another() -> None:
    give_up_s = 1.0

    async def dies(writer: asyncio.StreamWriter) -> None:
        until = asyncio.get_running_loop().time() + client.STEADY_S + 2 * give_up_s
        while asyncio.get_running_loop().time() < until:
            writer.write(chunk(b": nothing to tell\n\n"))
            await asyncio.sleep(0.1)

    async def ends(writer: asyncio.StreamWriter) -> None:
        writer.write(chunk(DONE) + b"0\r\n\r\n")
        await writer.drain()

    async with gateway(dies) as first, gateway(ends) as second, Client([first, second], give_up_s=give_up_s) as asking:
        heard = [event async for event in asking.events("r")]
    assert [(event.id, event.kind) for event in heard] == [(7, EventKind.DONE)]
