"""The Kafka transport under Faust: faust-streaming 0.15 and aiokafka 0.14, with what they get wrong put right.

Each class says which trap it closes. Nothing here knows of stages, rows or requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ack_lock
from mode.utils.futures import notify

from alto_streams.log.commit_gate import Gate
from alto_streams.log.fetching import Fetching
from alto_streams.log.handover import Taker
from alto_streams.log.producer import Producer, faust_log

log = logging.getLogger(__name__)

POLL_S = 1.0  # how long a wait for records may last that nothing wakes
YIELD_EVERY = 100  # records that are handed on without letting others run
REVOKED_WITHIN = 0.75  # of the rebalance timeout: a member that takes longer is expelled


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Commits only the contiguous finished prefix of what was delivered, and commits it before partitions are revoked.

    Stock Faust loses records that are finished out of order (its gap check is off while nothing has been committed),
    and forgets its acknowledgements before the last commit of an assignment.
    """

    logger = faust_log
    gate: Gate[TP]

    def __init__(self, transport: Any, callback: Callable[[Any], Any], *args: Any, **kwargs: Any) -> None:
        self.gate = Gate(transport.app.held)
        self.finished_count = 0  # records, since the start
        self._takers: dict[str, Taker] = {}
        self._has_let_go = False
        self._acks_enabled = transport.app.topics.acks_enabled_for
        self._conduct = callback
        super().__init__(transport, self._deliver, *args, **kwargs)

    def _new_consumer_thread(self) -> Fetching:
        return Fetching(self, loop=self.loop, beacon=self.beacon)

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Creates nothing: topics are created from topics.yaml, and by nothing else."""

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hands on what is fetched, until Faust's fetcher stops.

        Between taking records from aiokafka and handing on the first, nothing else runs: what is taken is wanted.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                    continue
                generation = self.generation
                for tp, records in (await self._thread.getmany(self._wanted(), POLL_S)).items():
                    if tp.topic in self._takers:
                        self._hand_over(tp, records, generation)
                    else:
                        await self._hand_on(tp, records, generation)
                await asyncio.sleep(0)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    def _wanted(self) -> set[TP]:
        """The partitions that records may be handed on from."""
        if self.app.tables.recovery.completed.is_set():
            return {tp for tp in self._active_partitions if tp.topic not in self.app.fed or self._may_take(tp.topic)}
        # Faust lets sources flow before it has sought to what is committed, and then empties the queues: what was
        # fetched and handed on in between would be lost.
        return {tp for tp in self._active_partitions if self._is_changelog_tp(tp)}

    def _may_take(self, topic: str) -> bool:
        taker = self._takers.get(topic)
        return taker is not None and not taker.is_full(topic)

    @contextmanager
    def feeding(self, topics: Sequence[str], taker: Taker) -> Iterator[None]:
        """Hands the records of topics in `app.fed` to `taker` meanwhile: whole batches, past Faust's streams."""
        self._takers.update(dict.fromkeys(topics, taker))
        self.wake()
        try:
            yield
        finally:
            for topic in topics:
                del self._takers[topic]

    def _hand_over(self, tp: TP, records: Sequence[Any], generation: int) -> None:
        taker = self._takers.get(tp.topic)  # none: it has left in between, at a stop
        if taker is not None and self.flow_active and self.generation == generation:
            for record in records:
                self.gate.deliver(tp, record.offset, generation)
            taker.take(generation, records)

    @property
    def generation(self) -> int:
        """The group's, as Faust knows it."""
        return int(self.app.consumer_generation_id)

    def finished(self, topic: str, partition: int, offsets: Iterable[int], generation: int) -> None:
        """Records that were handed over are done with; those of an older assignment change nothing."""
        tp = TP(topic, partition)
        self.finished_count += sum(self.gate.finish(tp, offset, generation) for offset in offsets)
        notify(self._waiting_for_ack)

    def wake(self) -> None:
        """What may be fetched has changed."""
        self._thread.wake()

    async def _hand_on(self, tp: TP, records: Iterable[Any], generation: int) -> None:
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        for count, record in enumerate(records, 1):
            if not self.flow_active or self.generation != generation:
                return
            read = self._read_offset[tp]
            if read is None or record.offset >= read:
                message = self._to_message(tp, record)
                await self.wait_first(self.callback(message), self.suspend_flow.wait())
                self._read_offset[tp] = record.offset
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def rejoin(self) -> None:
        """Asks for a rebalance: the group's leader is heard, anybody else is not."""
        self._thread.rejoin()

    def stop_flow(self) -> None:
        """Lets nothing more be handed on."""
        super().stop_flow()
        self.wake()

    def resume_flow(self) -> None:
        """Hands on again."""
        super().resume_flow()
        self.wake()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetches from these partitions again."""
        super().resume_partitions(set(tps))
        self.wake()

    def on_buffer_drop(self, tp: TP) -> None:
        """A stream of this partition has room again."""
        super().on_buffer_drop(tp)
        self.wake()

    async def verify_all_partitions_active(self) -> None:
        """Nothing: the watchdog tells of a worker that stands still, and ends it."""

    async def _deliver(self, message: Any) -> None:
        if self._acks_enabled(message.topic):
            self.gate.deliver(message.tp, message.offset, message.generation_id)
        await self._conduct(message)

    def ack(self, message: Any) -> bool:
        """Marks a record as finished; False if that changed nothing, e.g. for a record of an older assignment."""
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            changed = self._acks_enabled(message.topic) and self.gate.finish(
                message.tp, message.offset, message.generation_id
            )
            self._n_acked += changed
            self.finished_count += changed
            notify(self._waiting_for_ack)
            return bool(changed)

    def sources(self) -> set[TP]:
        """The partitions that this worker owns and finishes records of: no changelogs. Any thread may ask."""
        return {tp for tp in self.assignment() if self._acks_enabled(tp.topic) and not self._is_changelog_tp(tp)}

    def assignment(self) -> set[TP]:
        """Empty also before the thread has connected: Faust asks every second, and an exception ended the worker."""
        try:
            return cast("set[TP]", super().assignment())
        except driver.ConsumerNotStarted:
            return set()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        self._fold_inlined_acks()
        return (tp for tp in self.gate.partitions() if topics is None or tp in topics or tp.topic in topics)

    def _fold_inlined_acks(self) -> None:
        # Faust's compiled streams that acknowledge by themselves write here instead of calling ack().
        for tp, offsets in self._acked.items():
            generation = self.gate.generation(tp)
            for offset in offsets:
                if generation is not None:
                    self.gate.finish(tp, offset, generation)
            offsets.clear()
            self._acked_index[tp].clear()

    def _new_offset(self, tp: TP) -> int | None:
        return self.gate.position(tp)

    async def wait_empty(self) -> None:
        """Waits until what was begun is finished and stored, at most half the rebalance timeout, and commits it.

        Behind a shut fence nothing can be finished before the next generation.
        """
        if self._has_let_go:
            return
        deadline = monotonic() + self.app.conf.broker_rebalance_timeout / 2
        while self._is_busy() and not (self.should_stop or self.app.fence.is_shut) and monotonic() < deadline:
            await self._wait_for_ack(timeout=1)
        await self.app.settle()
        await self.commit_and_end_transactions()

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """As Faust's, but it draws no table of every commit for its log, and counts none that failed as done."""
        owned = self.assignment()
        offsets = {tp: offset for tp, offset in offsets.items() if tp in owned}
        if not offsets:
            return False
        await self.app.producer.flush()
        if not await self._commit(offsets):
            return False
        self.app.tables.on_commit(offsets)
        self._committed_offset.update(offsets)
        self.app.monitor.on_tp_commit(offsets)
        return True

    def committed_offset(self, tp: TP) -> int:
        """The offset that this worker's group has committed, as far as this worker knows; 0 if it knows none."""
        return self._committed_offset.get(tp) or 0

    def _is_busy(self) -> bool:
        self._clean_unacked_messages()
        return bool(self._unacked_messages) or any(taker.held for taker in self._takers.values())

    async def commit_and_end_transactions(self) -> None:
        """Commits all that is finished by now, after a commit under way: that one may have begun earlier."""
        while await self.maybe_wait_for_commit_to_finish():
            pass
        await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Suspends the flow, waits for what was begun (`stream_wait_empty`), commits, and only then lets go.

        What takes too long is given up: a worker that kept its group waiting would be expelled, and lose it anyway.
        """
        self.app.tables.recovery.completed.clear()  # Faust leaves it set from the first assignment on
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        within_s = REVOKED_WITHIN * self.app.conf.broker_rebalance_timeout
        try:
            async with asyncio.timeout(within_s):
                await self._finish_begun(revoked)
        except TimeoutError:
            log.warning("%s: partitions are given up with work unfinished after %.0f s", self.app.conf.id, within_s)
        self.gate.revoke(revoked)
        self._unacked_messages.clear()
        self._has_let_go = True  # Faust's own handler would wait once more, and nothing bounds that
        try:
            await super().on_partitions_revoked(revoked)
        finally:
            self._has_let_go = False

    async def _finish_begun(self, revoked: set[TP]) -> None:
        if revoked and not self.app.should_stop:
            if self.app.conf.stream_wait_empty:
                await self.wait_empty()
            else:
                await self.commit_and_end_transactions()


class Transport(driver.Transport):  # type: ignore[misc]
    """What an app with `app.fence` and `app.fetch_max_wait_ms` uses in place of Faust's aiokafka driver."""

    Consumer = Consumer
    Producer = Producer
