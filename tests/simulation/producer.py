"""The producer of one simulated process: what is enqueued lands later, partition by partition, or fails, or is lost.

The order of records holds within a partition and nowhere else. What was not acknowledged when its process died may
land long after: that is how a zombie's start, its chunks and its rows come late.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from alto_streams.errors import Fenced, Retryable
from alto_streams.log.sender import Out
from tests.simulation.log import Place
from tests.simulation.loop import ProcessLoop

if TYPE_CHECKING:
    from tests.simulation.world import World


class _Batch:
    """Records that are waited for together."""

    __slots__ = ("delivery", "failed", "left")

    def __init__(self, left: int, delivery: asyncio.Future[None]) -> None:
        self.left, self.delivery, self.failed = left, delivery, False


class Buffered(NamedTuple):
    """A record that has not been appended yet."""

    key: bytes | None
    value: bytes | None
    batch: _Batch


class Producer:
    """Stands in for `sender.Sender`."""

    def __init__(self, world: World, loop: ProcessLoop) -> None:
        self._world, self._loop = world, loop
        self._queues: dict[Place, deque[Buffered]] = {}
        self._held: set[Place] = set()  # partitions whose leader is slow to answer
        self._is_sending = False
        self.fenced = False

    async def send_all(self, records: Iterable[Out]) -> None:
        """Returns once the log has all of them. Raises `Retryable` or `Fenced`."""
        outs = list(records)
        self._check()
        if outs:
            batch = _Batch(len(outs), self._loop.create_future())
            for out in outs:
                self._put(out, batch)
            await batch.delivery

    async def enqueue(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None
    ) -> asyncio.Future[None]:
        """Puts one record into the buffer. Returns a future for `delivered`."""
        self._check()
        batch = _Batch(1, self._loop.create_future())
        self._put(Out(topic, key, value, partition), batch)
        return batch.delivery

    async def delivered(self, delivery: asyncio.Future[None], topic: str) -> None:
        """Waits for an enqueued record."""
        await asyncio.shield(delivery)

    def die(self) -> None:
        """The process is gone: of each partition's records, some of the first may be under way still."""
        world, queues = self._world, self._queues
        self._queues = {}
        for place in sorted(queues):
            under_way = world.rng.randint(0, len(queues[place]))
            if under_way:
                world.struck["landed late"] += 1
                world.land_later(place, [(b.key, b.value) for b in list(queues[place])[:under_way]])

    def _check(self) -> None:
        if self._loop.dead:
            raise asyncio.CancelledError
        if self.fenced:
            raise Fenced("the session of this process has expired")

    def _put(self, out: Out, batch: _Batch) -> None:
        place = self._world.log.place_of(out.topic, out.key, out.partition)
        self._queues.setdefault(place, deque()).append(Buffered(out.key, out.value, batch))
        self._go_on()

    def _send(self) -> None:
        """One request to the broker: the first records of one partition."""
        world, queues = self._world, self._queues
        self._is_sending = False
        places = sorted(place for place in queues if place not in self._held)
        if not places:
            return
        if world.strikes("send failure"):
            self._fail()
            return
        place = world.rng.choice(places)
        if len(places) > 1 and world.strikes("slow partition"):
            places.remove(place)
            self._hold(place)
            place = world.rng.choice(places)
        queue = queues[place]
        for _ in range(len(queue) if world.rng.random() < 0.7 else world.rng.randint(1, len(queue))):
            each = queue.popleft()
            world.land(place, each.key, each.value)
            each.batch.left -= 1
            if not each.batch.left and not each.batch.failed:
                self._loop.call_soon(_acknowledge, each.batch.delivery)
        if not queue:
            del queues[place]
        self._go_on()

    def _go_on(self) -> None:
        if self._queues and not self._is_sending:
            self._is_sending = True
            self._world.scheduler.soon(None, self._send)

    def _hold(self, place: Place) -> None:
        def release() -> None:
            self._held.discard(place)
            self._go_on()

        self._held.add(place)
        self._world.some_time(release)

    def _fail(self) -> None:
        """A send has failed: so does all that is buffered, though some of it may have landed."""
        world, queues = self._world, self._queues
        self._queues = {}
        for place in sorted(queues):
            landed = world.rng.randint(0, len(queues[place]))
            for n, each in enumerate(queues[place]):
                if n < landed:
                    world.land(place, each.key, each.value)
                if not each.batch.failed:
                    each.batch.failed = True
                    self._loop.call_soon(_refuse, each.batch.delivery)


def _acknowledge(delivery: asyncio.Future[None]) -> None:
    if not delivery.done():
        delivery.set_result(None)


def _refuse(delivery: asyncio.Future[None]) -> None:
    if not delivery.done():
        delivery.set_exception(Retryable("sending to the simulated broker failed"))
        delivery.exception()  # whoever waits for it is told; if nobody does, that is no error
