"""Is a part up? Each check speaks the part's own protocol: an open port alone may still refuse every request.

Blocking, standard library only, and each bounded by `timeout_s`; asynchronous callers use a thread.
"""

from __future__ import annotations

import http.client
import socket
import struct
import time
from collections.abc import Callable

PAUSE_S = 0.05
_METADATA, _VERSION = 3, 4


def kafka_answers(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """True once a Kafka broker answers a Metadata request (version 4, no topics) and lists at least one live broker.

    Apache Kafka accepts connections before its broker is registered; until then the list is empty.
    """
    body = struct.pack(">hhih", _METADATA, _VERSION, 1, -1) + struct.pack(">i?", 0, False)
    try:
        with socket.create_connection((host, port), timeout_s) as link:
            link.settimeout(timeout_s)
            link.sendall(struct.pack(">i", len(body)) + body)
            (size,) = struct.unpack(">i", _exactly(link, 4))
            answer = _exactly(link, min(size, 12))
    except OSError:
        return False
    if len(answer) < 12:
        return False
    correlation, _throttle_ms, brokers = struct.unpack(">iii", answer)
    return bool(correlation == 1 and brokers > 0)


def redis_answers(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """True once a Redis or Valkey server answers PING with PONG (a server that still loads its data does not)."""
    try:
        with socket.create_connection((host, port), timeout_s) as link:
            link.settimeout(timeout_s)
            link.sendall(b"PING\r\n")
            return _exactly(link, 7) == b"+PONG\r\n"
    except OSError:
        return False


def http_answers(host: str, port: int, path: str, timeout_s: float = 1.0) -> bool:
    """True once `GET path` answers 200."""
    link = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        link.request("GET", path, headers={"Connection": "close"})
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


def wait_until(check: Callable[[], bool], timeout_s: float) -> bool:
    """Ask `check` every 50 ms until it is true or the time is up; the last answer."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE_S)
    return True


def _exactly(link: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = link.recv(count - len(parts))
        if not part:
            raise ConnectionResetError(f"connection closed after {len(parts)} of {count} bytes")
        parts += part
    return parts
