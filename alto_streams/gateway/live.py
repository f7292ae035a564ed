"""What is published while clients listen: one connection to Redis for all event streams of a gateway.

Redis tells each event as it is added to a stream, with the one that it follows. One that does not follow what a client
has heard is not taken, and the stream is read instead: what is lost on this way costs a read, and never an event.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple, Protocol

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from alto_streams.gateway.store import ANSWER_S, StoredEvent, unreachable
from alto_streams.parts import Backoff, redacted
from alto_streams.settings import Settings
from alto_streams.wire.redis_keys import events_key, offset_of

log = logging.getLogger(__name__)

SILENT_S = 5.0  # then Redis is asked whether it is still there


class LinkedEvent(NamedTuple):
    """An event, and the offset of the one before it in its stream, -1 for none."""

    follows: int
    event: StoredEvent


class Listener(Protocol):
    """Who listens to one request; neither method may wait."""

    def tell(self, told: LinkedEvent) -> None: ...

    def miss(self) -> None:
        """Something may not have been told."""


class Live:
    """Tells listeners what is published, from the first one on until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._address = redacted(settings.redis)
        self._pool = ConnectionPool.from_url(
            settings.redis,
            protocol=2,
            socket_connect_timeout=ANSWER_S,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
        self._connection: AbstractConnection | None = None
        self._listeners: dict[bytes, set[Listener]] = {}
        self._subscribed: set[bytes] = set()
        self._left: set[bytes] = set()
        self._asked: dict[bytes, asyncio.Future[None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Tells nothing any more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._pool.aclose()

    def join(self, request: str, listener: Listener) -> None:
        """From `confirmed` on, the listener is told what is published of the request, or that it may have missed it."""
        channel = events_key(request).encode()
        self._left.discard(channel)
        self._listeners.setdefault(channel, set()).add(listener)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="live")

    def leave(self, request: str, listener: Listener) -> None:
        """Undoes `join`."""
        channel = events_key(request).encode()
        listeners = self._listeners[channel]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[channel]
            self._left.add(channel)

    async def confirmed(self, request: str) -> None:
        """Returns once Redis tells what is published of a request that has been joined.

        Raises:
            PartDown: it cannot be reached.
        """
        channel = events_key(request).encode()
        if channel in self._subscribed:
            return
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                asked = self._asked.get(channel)
                if asked is None:
                    asked = self._asked[channel] = asyncio.get_running_loop().create_future()
                    if self._connection is not None and self._connection.is_connected:
                        await self._connection.send_command("SUBSCRIBE", channel, check_health=False)
                await asyncio.shield(asked)
        except (RedisError, OSError, TimeoutError) as error:
            raise unreachable(self._address, error) from None

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            connection: Any = None
            try:
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                # From here on who joins asks for itself.
                self._connection = connection
                if self._listeners:
                    await connection.send_command("SUBSCRIBE", *self._listeners, check_health=False)
                backoff.reset()
                await self._hear(connection)
            except (RedisError, OSError, ValueError) as error:  # the last: somebody else has published there
                self._lost(error)
            finally:
                self._connection = None
                if connection is not None:
                    await connection.disconnect(nowait=True)
                    await self._pool.release(connection)
            await asyncio.sleep(backoff.next_s())

    async def _hear(self, connection: AbstractConnection) -> None:
        is_asked = False
        while True:
            reply: Any = await connection.read_response(timeout=SILENT_S, disconnect_on_error=False)
            if reply is None:
                if is_asked:
                    raise TimeoutError
                await connection.send_command("PING", check_health=False)
            elif reply[0] == b"message":
                self._tell(reply[1], reply[2])
            elif reply[0] == b"subscribe":
                self._subscribed.add(reply[1])
                if (asked := self._asked.pop(reply[1], None)) is not None and not asked.done():
                    asked.set_result(None)
            is_asked = reply is None
            if self._left:
                left, self._left = self._left, set()
                self._subscribed -= left
                for each in left:  # whoever joins from here on asks anew
                    self._asked.pop(each, None)
                await connection.send_command("UNSUBSCRIBE", *left, check_health=False)

    def _tell(self, channel: bytes, payload: bytes) -> None:
        entry, follows, kind, data = payload.split(b" ", 3)
        told = LinkedEvent(offset_of(follows), StoredEvent(offset_of(entry), kind.decode(), data.decode()))
        for listener in self._listeners.get(channel, ()):
            listener.tell(told)

    def _lost(self, error: Exception) -> None:
        log.warning("redis at %s: %s; events are told again once it is back", self._address, type(error).__name__)
        self._subscribed.clear()
        self._left.clear()
        asked, self._asked = self._asked, {}
        for each in asked.values():
            if not each.done():
                each.set_exception(error)
                each.exception()  # its one asker may have left
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.miss()
