"""From fetched records to calls in flight: as many at once as the engine has slots, acknowledged one by one.

The call that has the least slack begins first: its request has to meet its deadline, with all that follows the call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.tally import Held, Tally
from alto_streams.errors import Fenced, Poison
from alto_streams.log.handover import Fetched, Giver
from alto_streams.log.letters import LetterCounts, letter_of
from alto_streams.log.sender import Out
from alto_streams.parts import Backoff
from alto_streams.retry import insist
from alto_streams.scheduler.slack import has_room, is_hopeless, rank
from alto_streams.tables.decisions import Cause
from alto_streams.wire.records import Cancel, Status, Work, decoder, encode
from alto_streams.wire.topic_names import class_of, home_topic
from alto_streams.worker.pump import polled_of

log = logging.getLogger(__name__)

LOOK, LOOK_MOST = 4, 64
SHED_CAUSE = "it can no longer meet its deadline"

_decode = decoder(Work)
SendAll = Callable[[list[Out]], Awaitable[object]]


def prefetch(slots: int) -> int:
    """How many work items of one stage wait for slots.

    A slot that becomes free is filled from them, and they are filled up before the next one does: calls take seconds,
    a fetch takes milliseconds. More would gain nothing: what stays with the broker goes to another worker as it is when
    its partition does, and is counted as nobody's load. It is so many of *each* stage since a stage's own calls come in
    the order of their slack, or nearly so: to find the call with the least of it, the first ones of each are enough,
    and no flood of one stage's calls keeps another's from being seen. Where only some calls have a deadline they do
    not: there those without one do not count, up to `LOOK` times the slots, or they would hide the others behind them.
    """
    return max(2, slots // 4)


@dataclass(slots=True, eq=False)
class _Item:
    """A work item that waits. `generation`: under which it came; `work`: None where it cannot be read, with `why`."""

    record: Fetched
    generation: int
    pipeline: str
    stage: str
    work: Work | None
    held: Held | None
    why: str = ""

    @property
    def is_due(self) -> bool:
        """Whether it has to begin at some time."""
        return self._latest_ms is not None

    def rank(self, at_ms: int) -> float:
        """The lowest begins first."""
        if self.work is None:
            return 0.0  # it takes no time
        return rank(self._latest_ms, self.record.timestamp, at_ms)

    def is_hopeless(self, at_ms: int) -> bool:
        """Whether its request is to be shed."""
        if self.work is None or not self.work.context.shed:
            return False
        return is_hopeless(self._latest_ms, at_ms)

    @property
    def _latest_ms(self) -> int | None:
        receipt = self.work.receipt if self.work is not None else None
        return receipt.latest_ms if receipt is not None else None


class Pool:
    """Hands work items to an agent, least slack first. Of each topic `prefetch` may wait; the rest stays at the broker.

    `roots`: pipeline -> the stage that decides about its requests; of no other pipeline anything is shed. `owned_ms`:
    since when this worker has had each partition; what is older another worker may have begun in time.
    """

    def __init__(
        self,
        agent: LMAgent,
        slots: int,
        send_all: SendAll,
        giver: Giver,
        tally: Tally | None = None,
        *,
        roots: Mapping[str, str] | None = None,
        owned_ms: Mapping[tuple[str, int], int] | None = None,
        letters: LetterCounts | None = None,
    ) -> None:
        self._agent, self._slots, self._send_all, self._giver = agent, slots, send_all, giver
        self._tally, self._roots, self._owned_ms = tally or Tally(), roots or {}, {} if owned_ms is None else owned_ms
        self._prefetch, self._letters = prefetch(slots), letters or LetterCounts()
        self._waiting: list[_Item] = []
        self._look = max(self._prefetch, min(LOOK * slots, LOOK_MOST))
        self._waits: dict[str, int] = {}  # how many, by topic
        self._due: dict[str, int] = {}  # of these, with a deadline; 0 where such have been seen
        self._seen: dict[tuple[str, int], int] = {}  # the last offset of each partition that was counted
        self._tasks: set[asyncio.Task[None]] = set()
        self._shedding: set[asyncio.Task[None]] = set()  # they need no slot
        self.shed = 0  # requests, once for each call of theirs

    @property
    def held(self) -> int:
        """How many work items wait or are being made."""
        return len(self._waiting) + len(self._tasks) + len(self._shedding)

    def is_full(self, topic: str) -> bool:
        """Whether enough of the topic's items wait for the next slots that become free."""
        due = self._due.get(topic)
        if due is None:
            return self._waits.get(topic, 0) >= self._prefetch
        return due >= self._prefetch or self._waits[topic] >= self._look

    def take(self, generation: int, records: Sequence[Fetched]) -> None:
        """Work items, to be begun as slots are free."""
        self._drop([item for item in self._waiting if item.generation != generation])  # they are delivered again
        for record in records:
            item = self._item(generation, record)
            self._waiting.append(item)
            self._waits[record.topic] = self._waits.get(record.topic, 0) + 1
            if item.is_due:
                self._due[record.topic] = self._due.get(record.topic, 0) + 1
        self._begin()

    async def stop(self) -> None:
        """Abort what is running: its work items are unacknowledged, so another worker begins them again."""
        self._drop(self._waiting)
        tasks = [*self._tasks, *self._shedding]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _item(self, generation: int, record: Fetched) -> _Item:
        prompt_class = class_of(record.topic)
        pipeline, _, stage = prompt_class.partition(".")
        try:
            work = _decode(record.value or b"")
        except Poison as error:
            return _Item(record, generation, pipeline, stage, None, None, str(error))
        place = record.topic, record.partition
        is_new = record.offset > self._seen.get(place, -1)
        self._seen[place] = max(record.offset, self._seen.get(place, -1))
        held = self._tally.take(prompt_class, work, is_new=is_new)
        return _Item(record, generation, pipeline, stage, work, held)

    def _begin(self) -> None:
        if not self._waiting:
            return
        at_ms = int(time.time() * 1000)
        while self._waiting and len(self._tasks) < self._slots:
            item = min(self._waiting, key=lambda item: item.rank(at_ms))
            if not self._shed_if_hopeless(item, at_ms):
                self._leave_queue(item)
                self._start(self._tasks, item, self._make)
        for item in list(self._waiting):
            self._shed_if_hopeless(item, at_ms)

    def _shed_if_hopeless(self, item: _Item, at_ms: int) -> bool:
        if has_room(len(self._tasks), self._slots) or not item.is_hopeless(at_ms) or not self._may_shed(item):
            return False
        self._leave_queue(item)
        self._start(self._shedding, item, self._shed)
        return True

    def _may_shed(self, item: _Item) -> bool:
        record = item.record
        if item.work is None or item.pipeline not in self._roots:
            return False
        if record.timestamp < self._owned_ms.get((record.topic, record.partition), 0):
            return False
        return not self._agent.knows(item.work)

    def _start(self, tasks: set[asyncio.Task[None]], item: _Item, action: Callable[[_Item], Awaitable[None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._one(item, action))
        tasks.add(task)
        task.add_done_callback(lambda done: self._done(tasks, done, item))

    def _done(self, tasks: set[asyncio.Task[None]], task: asyncio.Task[None], item: _Item) -> None:
        tasks.discard(task)
        self._release(item)
        self._begin()

    def _leave_queue(self, item: _Item) -> None:
        self._waiting.remove(item)
        topic = item.record.topic
        was_full = self.is_full(topic)
        self._waits[topic] -= 1
        if item.is_due:
            self._due[topic] -= 1
        if was_full and not self.is_full(topic):
            self._giver.wake()

    def _drop(self, items: Iterable[_Item]) -> None:
        for item in list(items):
            self._leave_queue(item)
            self._release(item)

    def _release(self, item: _Item) -> None:
        if item.held is not None:
            self._tally.release(item.held)

    async def _one(self, item: _Item, action: Callable[[_Item], Awaitable[None]]) -> None:
        record, backoff = item.record, Backoff()
        origin = record.topic, record.partition, record.offset
        # What an older generation delivered is delivered again, here or elsewhere.
        while item.generation == self._giver.generation:
            try:
                await action(item)
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
                self._giver.finished(record.topic, record.partition, [record.offset], item.generation)
                return

    async def _make(self, item: _Item) -> None:
        if item.work is not None:
            try:
                await self._agent.handle(item.work, item.pipeline)
                return
            except Poison as error:
                item.why = str(error)
        # What cannot be read names no home to tell; the request's deadline ends what waits for it.
        record = item.record
        log.warning("dead letter from %s-%d@%d: %s", record.topic, record.partition, record.offset, item.why)
        letter = letter_of(item.pipeline, item.stage, record.topic, polled_of(record), item.why)
        await insist(lambda: self._send_all([letter]))
        self._letters.count(f"{item.pipeline}.{item.stage}", Cause.UNREADABLE if item.work is None else Cause.OTHER)

    async def _shed(self, item: _Item) -> None:
        """The home of the request's root decides: the request may have ended meanwhile."""
        if item.work is None:
            return
        self.shed += 1
        request = item.work.request
        log.debug("%s: %s.%s: %s", request, item.pipeline, item.stage, SHED_CAUSE)
        cancel = Cancel(request, "", status=Status.SHED, cause=SHED_CAUSE)
        told = Out(home_topic(item.pipeline, self._roots[item.pipeline]), request.encode(), encode(cancel))
        await insist(lambda: self._send_all([told]))
