"""How a worker's `Load` is kept in Redis: the connection for it, its form, and the clock that it is stamped with."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from alto_streams.errors import Poison
from alto_streams.settings import Settings
from alto_streams.wire.codec import decoder
from alto_streams.wire.plans import Load

WITHIN_S = 0.5  # for Redis to answer

_decode = decoder(Load)


def load_client(settings: Settings) -> Redis:
    """A connection for loads: one that gives up soon."""
    return Redis.from_url(settings.redis, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S)


def read_load(value: bytes | str) -> Load | None:
    """A worker's load, if it is one that this version can read."""
    try:
        return _decode(value if isinstance(value, bytes) else value.encode())
    except Poison:
        return None


def now_ms() -> int:
    """The time of reports and loads, in ms since the epoch."""
    return int(time.time() * 1000)
