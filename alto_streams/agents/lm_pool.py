"""From fetched records to calls in flight: as many at once as the engine has slots, acknowledged one by one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from alto_streams.agents.insist import insist
from alto_streams.agents.letters import letter_of
from alto_streams.agents.lm import LMAgent
from alto_streams.agents.pump import polled_of
from alto_streams.errors import Fenced
from alto_streams.handover import Fetched, Giver
from alto_streams.parts import Backoff
from alto_streams.records import Poison, Work, decoder
from alto_streams.sender import Out

log = logging.getLogger(__name__)

_decode = decoder(Work)
SendAll = Callable[[list[Out]], Awaitable[object]]


class Pool:
    """Hands work items to an agent. Once as many wait as are made, the rest stays with the broker's partitions."""

    def __init__(self, agent: LMAgent, slots: int, send_all: SendAll, giver: Giver) -> None:
        self._agent, self._slots, self._send_all, self._giver = agent, slots, send_all, giver
        self._waiting: deque[tuple[int, Fetched]] = deque()  # with the generation that each came under
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def held(self) -> int:
        """How many work items wait or are being made."""
        return len(self._waiting) + len(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether enough wait for the next slots that become free."""
        return len(self._waiting) >= self._slots

    def take(self, generation: int, records: Sequence[Fetched]) -> None:
        """Work items, to be begun as slots are free."""
        self._waiting.extend((generation, record) for record in records)
        self._begin()

    async def stop(self) -> None:
        """Abort what is running: its work items are unacknowledged, so another worker begins them again."""
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self) -> None:
        while self._waiting and len(self._tasks) < self._slots:
            task = asyncio.get_running_loop().create_task(self._one(*self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        was_full = self.is_full
        self._tasks.discard(task)
        self._begin()
        if was_full and not self.is_full:
            self._giver.wake()

    async def _one(self, generation: int, record: Fetched) -> None:
        origin, backoff = (record.topic, record.partition, record.offset), Backoff()
        # What an older generation delivered is delivered again, here or elsewhere.
        while generation == self._giver.generation:
            try:
                await self._make(record)
            except Fenced as error:
                # Until the next generation tells who owns it, nobody else would ever get this work item.
                wait_s = backoff.next_s()
                log.warning("%s-%d@%d waits %.1f s: %s", *origin, wait_s, error)
                await asyncio.sleep(wait_s)
            except Exception as error:
                # Given up without an acknowledgement it would hold up its partition. Its home bounds the attempts.
                wait_s = backoff.next_s()
                log.warning("%s-%d@%d raised %s; trying again in %.1f s", *origin, type(error).__name__, wait_s)
                await asyncio.sleep(wait_s)
            else:
                self._giver.finished(record.topic, record.partition, [record.offset], generation)
                return

    async def _make(self, record: Fetched) -> None:
        _, pipeline, stage = record.topic.split(".", 2)
        try:
            work = _decode(record.value or b"")
            await self._agent.handle(work, pipeline)
        except Poison as error:
            # What cannot be read names no home to tell; the request's deadline ends what waits for it.
            log.warning("dead letter from %s-%d@%d: %s", record.topic, record.partition, record.offset, error)
            letter = letter_of(pipeline, stage, record.topic, polled_of(record), str(error))
            await insist(lambda: self._send_all([letter]))
