"""One client's place in a request's events: what it has not heard is read, then it is told what comes."""

from __future__ import annotations

import asyncio
from collections import deque

from alto_streams.gateway.live import LinkedEvent, Live
from alto_streams.gateway.store import Portion, Store, StoredEvent

HELD_CHARS = 65_536  # more than this waits in Redis for a client that is slow
WAIT_S = 5.0


class Tail:
    """The events of one request, each once and in order, as its client comes to take them.

    `is_behind`: the client has not heard all that is in Redis.
    """

    def __init__(self, store: Store, live: Live, request: str) -> None:
        self._store, self._live, self._request = store, live, request
        self._portion = Portion()
        self._told: deque[LinkedEvent] = deque()
        self._chars = 0
        self._is_listening = False
        self._is_stale = True  # the stream has to be read
        self._more = asyncio.Event()
        self.is_behind = True

    def __enter__(self) -> Tail:
        self._live.join(self._request, self)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.leave(self._request, self)

    def tell(self, told: LinkedEvent) -> None:
        """Keeps the event for when the client comes for it, within the bound."""
        if self._is_listening:
            if self._chars > HELD_CHARS:
                return self.miss()
            self._told.append(told)
            self._chars += len(told.event.data)
            self._more.set()
        return None

    def miss(self) -> None:
        """What comes next has to be read."""
        self._is_listening = False
        self._told.clear()
        self._chars = 0
        self._more.set()

    async def next(self, after: int) -> list[StoredEvent]:
        """The next events after offset `after`; waits for the first up to 5 s; may be empty.

        Raises:
            PartDown: Redis cannot be reached.
        """
        if not self._is_listening:
            await self._live.confirmed(self._request)
            self._is_listening = self._is_stale = self.is_behind = True
        if self._is_stale or self.is_behind:
            events, self.is_behind = self._portion.of(await self._store.read(self._request, after, self._portion.count))
            self._is_stale = False
            if events:
                return events
        return await self._wait(after)

    async def _wait(self, after: int) -> list[StoredEvent]:
        while not (events := self._following(after)) and self._is_listening:
            self._more.clear()
            try:
                async with asyncio.timeout(WAIT_S):
                    await self._more.wait()
            except TimeoutError:
                self._is_stale = True  # most likely there is nothing; but Redis may be gone
                return []
        return events

    def _following(self, after: int) -> list[StoredEvent]:
        events: list[StoredEvent] = []
        for follows, event in self._told:
            if event.offset > after:
                if follows > after:
                    self.miss()
                    break
                events.append(event)
                after = event.offset
        self._told.clear()
        self._chars = 0
        return events
