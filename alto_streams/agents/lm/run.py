"""One run of one attempt, on its way into the log: what an engine says, as numbered chunks at the call's home."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from typing import Any, Protocol

from alto_streams.agents.lm.coalesce import Coalescer, Gathered
from alto_streams.models.protocol import Piece
from alto_streams.wire.records import Chunk, End, Start, Work, encode

QUIET_S = 5.0  # well below any silence that a home waits for


class RunLog(Protocol):
    """Appends records in order: `enqueue` puts one into the buffer, `delivered` waits until the log has it."""

    async def enqueue(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None
    ) -> asyncio.Future[Any]: ...

    async def delivered(self, delivery: asyncio.Future[Any], topic: str) -> Any: ...


class Run:
    """One run of one attempt: numbers its chunks and knows when all of them are in the log."""

    def __init__(self, work: Work, log_: RunLog) -> None:
        self._work, self._log = work, log_
        self._id = uuid.uuid4().hex
        self._coalescer = Coalescer(work.flush)
        self._deliveries: deque[asyncio.Future[Any]] = deque()
        self._told, self._told_s = False, time.monotonic()
        self.seq = 0

    async def tell_start(self) -> None:
        """Tell the home of this run, unless it knows."""
        if not self.seq and not self._told:
            self._told = True
            work = self._work
            await self._append(encode(Start(work.request, work.path, work.attempt, self._id)))

    async def add(self, piece: Piece) -> None:
        if piece.finish is not None:
            self._coalescer.hold(piece)  # it goes with the end
            return
        if not piece.text:
            await self.tell_start()  # the call was taken, and may be what ends this process
        now_s = time.monotonic()
        waiting = sum(not each.done() for each in self._deliveries)
        due = self._coalescer.add(piece, int(now_s * 1000), waiting)
        if due is not None:
            await self._chunk(due, None)
        elif now_s - self._told_s > QUIET_S:  # a long line: its home would take it for a silence
            await self._chunk(Gathered(), None)

    async def finish(self, end: End) -> None:
        rest = self._coalescer.rest()
        if end.reason == "error":
            rest = Gathered()  # half a line is no item: the next attempt writes it again from its beginning
        await self._chunk(rest, end)
        while self._deliveries:
            await self._log.delivered(self._deliveries.popleft(), self._work.home.topic)

    async def _chunk(self, held: Gathered, end: End | None) -> None:
        work = self._work
        chunk = Chunk(
            work.request,
            work.path,
            work.attempt,
            self._id,
            self.seq,
            held.text,
            held.count,
            held.tokens or None,
            held.logprobs or None,
            end,
        )
        self.seq += 1
        await self._append(encode(chunk))

    async def _append(self, value: bytes) -> None:
        home = self._work.home
        key = self._work.request.encode()
        while self._deliveries and self._deliveries[0].done():  # a failed send ends the run: the rest would be a hole
            await self._log.delivered(self._deliveries.popleft(), home.topic)
        self._deliveries.append(await self._log.enqueue(home.topic, key, value, home.partition))
        self._told_s = time.monotonic()
