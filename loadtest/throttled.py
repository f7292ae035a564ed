"""A client that reads an event stream as slowly as it is told, over a connection that holds little for it.

A loopback connection would take megabytes off the gateway's hands, which no connection over a network does: the
receive buffer is small, and so are the segments, by whose size the sender's system measures its own buffer.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

RECEIVE_BYTES, SEGMENT_BYTES, PIECE_BYTES = 4_096, 1_460, 512
END = b"event: done"


@dataclass(slots=True)
class Reading:
    """What one stream has brought so far. `whole`: up to its end."""

    bytes: int = 0
    seconds: float = 0.0
    whole: bool = False


def due_s(read: int, rate: float, began_s: float) -> float:
    """When a reader of `rate` bytes a second that began at `began_s` may read on, having read so many."""
    return began_s + read / rate


async def read_events(url: str, rate: float | None, reading: Reading) -> None:
    """Reads the stream at `url` up to `done`, at most `rate` bytes a second (None: as they come); notes in `reading`.

    Returns also when the gateway closes the connection.
    """
    parts = urlsplit(url)
    loop, began_s = asyncio.get_running_loop(), time.monotonic()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        await loop.sock_connect(sock, (parts.hostname, parts.port))
        asked = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/event-stream\r\n\r\n"
        await loop.sock_sendall(sock, asked.encode())
        tail = b""
        while not reading.whole and (piece := await loop.sock_recv(sock, PIECE_BYTES)):
            reading.bytes += len(piece)
            reading.seconds = time.monotonic() - began_s
            reading.whole = END in tail + piece
            tail = piece[-len(END) :]
            if rate is not None:
                await asyncio.sleep(max(0.0, due_s(reading.bytes, rate, began_s) - time.monotonic()))
