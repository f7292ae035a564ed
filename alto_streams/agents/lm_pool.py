"""From a Faust stream to calls in flight: as many at once as the engine has slots, acknowledged one by one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from alto_streams.agents.insist import insist
from alto_streams.agents.letters import letter_of
from alto_streams.agents.lm import LMAgent
from alto_streams.agents.pump import polled_of
from alto_streams.errors import Fenced
from alto_streams.parts import Backoff
from alto_streams.records import Poison, Work, decoder
from alto_streams.sender import Out

log = logging.getLogger(__name__)

_decode = decoder(Work)
SendAll = Callable[[list[Out]], Awaitable[object]]


class Pool:
    """Hands work items to an agent. What is not begun stays with the broker's partition, not in a queue of ours."""

    def __init__(self, agent: LMAgent, slots: int, send_all: SendAll) -> None:
        self._agent, self._send_all = agent, send_all
        self._free = asyncio.Semaphore(slots)
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation: Callable[[], int] = lambda: 0

    async def run(self, stream: Any) -> None:
        """The body of a Faust agent."""
        self._generation = lambda: int(stream.app.consumer_generation_id)
        async for event in stream.noack().events():
            await self._free.acquire()
            task = asyncio.get_running_loop().create_task(self._one(event))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def stop(self) -> None:
        """Abort what is running: its work items are unacknowledged, so another worker begins them again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()

    async def _one(self, event: Any) -> None:
        message, backoff = event.message, Backoff()
        # What an older generation delivered is delivered again, here or elsewhere.
        while message.generation_id == self._generation():
            try:
                await self._make(message)
            except Fenced as error:
                # Until the next generation tells who owns it, nobody else would ever get this work item.
                wait_s = backoff.next_s()
                origin = (message.topic, message.partition, message.offset)
                log.warning("%s-%d@%d waits %.1f s: %s", *origin, wait_s, error)
                await asyncio.sleep(wait_s)
            except Exception as error:
                # Given up without an acknowledgement it would hold up its partition. Its home bounds the attempts.
                wait_s = backoff.next_s()
                origin = (message.topic, message.partition, message.offset)
                log.warning("%s-%d@%d raised %s; trying again in %.1f s", *origin, type(error).__name__, wait_s)
                await asyncio.sleep(wait_s)
            else:
                event.ack()
                return

    async def _make(self, message: Any) -> None:
        _, pipeline, stage = message.topic.split(".", 2)
        try:
            work = _decode(message.value or b"")
            await self._agent.handle(work, pipeline)
        except Poison as error:
            # What cannot be read names no home to tell; the request's deadline ends what waits for it.
            log.warning("dead letter from %s-%d@%d: %s", message.topic, message.partition, message.offset, error)
            letter = letter_of(pipeline, stage, message.topic, polled_of(message), str(error))
            await insist(lambda: self._send_all([letter]))
