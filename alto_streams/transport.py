"""The Kafka transport under Faust: faust-streaming 0.15 and aiokafka 0.14, with what they get wrong put right.

Each class says which trap it closes. Nothing here knows of stages, rows or requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ack_lock
from mode.utils.futures import notify

from alto_streams.fence import Fence
from alto_streams.gate import Gate
from alto_streams.holes import Holes
from alto_streams.producer import Producer, bootstrap, connected, faust_log

log = logging.getLogger(__name__)

POLL_S = 0.25  # how long one fetch from aiokafka's buffer may wait; records wake it
REVOKED_WITHIN = 0.75  # of the rebalance timeout: a member that takes longer is expelled


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """aiokafka's group membership; tells the fence of heartbeats, and leaves the group on a clean stop.

    aiokafka sends no LeaveGroup for a static member, so its partitions would stall for the session timeout.
    """

    fence: Fence

    async def _do_heartbeat(self) -> bool:
        sent_at = monotonic()
        alive = bool(await super()._do_heartbeat())
        if alive:
            self.fence.beat(sent_at)
        return alive

    async def _on_join_complete(self, *args: Any) -> None:
        self.fence.beat(monotonic())
        await super()._on_join_complete(*args)

    async def _maybe_leave_group(self) -> None:
        if self.generation > 0 and self._group_instance_id is not None:
            with contextlib.suppress(KafkaError):
                await self._send_req(LeaveGroupRequest(self.group_id, self.member_id))
            self.reset_generation()
        else:
            await super()._maybe_leave_group()


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that fetches: its fetch wait is a setting, our assignor counts even without tables."""

    logger = faust_log

    async def on_start(self) -> None:
        """Connects, waiting with backoff while no broker answers."""
        self._holes: Holes[Any] = Holes()
        self.time_started = monotonic()
        await connected(self, ", ".join(bootstrap(self.transport)), self._connect)

    async def _connect(self) -> None:
        consumer = self._create_consumer(loop=self.thread_loop)
        try:
            await consumer.start()
        except BaseException:
            consumer._closed = True
            await consumer._client.close()
            raise
        coordinator = consumer._coordinator
        if isinstance(coordinator, GroupCoordinator):
            # aiokafka names the class in start(); it keeps all state in the instance and has sent nothing yet.
            coordinator.__class__ = Coordinator
            coordinator.fence = self.app.fence
        self._consumer = consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float = 0,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> Any:
        """As Faust's, but it ends in time; and before a hole, on a broker that may show records late (see `holes`).

        Once a rebalance has begun, aiokafka lets a fetch wait for the new assignment, whatever its timeout. That comes
        only after the revocation, which waits for the fetch: until the group expels this member.
        """
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or consumer._fetcher._closed:
            raise driver.ConsumerStoppedError
        positions = (
            None if self.app.sender.idempotent else {tp: _position(consumer, tp) for tp in active_partitions or ()}
        )
        # It is inside the context that a fetch is broken off: aiokafka counts fetches, and not those that raise.
        with consumer._fetcher._subscriptions.fetch_context(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout + POLL_S):
                found = await consumer._fetcher.fetched_records(active_partitions, timeout, max_records)
                return found if positions is None else self._without_holes(consumer, positions, found)
        return {}

    def _without_holes(self, consumer: Any, positions: dict[Any, int | None], found: dict[Any, Any]) -> dict[Any, Any]:
        for tp, records in list(found.items()):
            kept, hole = self._holes.before_hole(tp, positions.get(tp), records)
            if hole is not None:
                consumer.seek(tp, hole)
                found[tp] = kept
                if not kept:
                    del found[tp]
        return found

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        return AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=bootstrap(transport),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=self.app.fetch_max_wait_ms,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )


def _position(consumer: Any, tp: Any) -> int | None:
    """The offset that the next fetched record of a partition should have, where that is known."""
    subscription = consumer._subscription.subscription
    assignment = subscription.assignment if subscription is not None else None
    if assignment is None or tp not in assignment.tps:
        return None
    state = assignment.state_value(tp)
    return int(state.position) if state is not None and state.has_valid_position else None


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Commits only the contiguous finished prefix of what was delivered, and commits it before partitions are revoked.

    Stock Faust loses records that are finished out of order (its gap check is off while nothing has been committed),
    and forgets its acknowledgements before the last commit of an assignment.
    """

    logger = faust_log
    gate: Gate[TP]

    def __init__(self, transport: Any, callback: Callable[[Any], Any], *args: Any, **kwargs: Any) -> None:
        self.gate = Gate(transport.app.held)
        self.finished = 0  # records, since the start
        self._acks_enabled = transport.app.topics.acks_enabled_for
        self._conduct = callback
        super().__init__(transport, self._deliver, *args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Creates nothing: topics are created from topics.yaml, and by nothing else."""

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        # A copy: the set changes while the consumer's thread reads it. A short wait: revocation waits for it to end.
        active = None if active_partitions is None else set(active_partitions)
        if active is not None and not self.app.tables.recovery.completed.is_set():
            # Faust lets sources flow before it has sought to what is committed, and then empties the queues: what was
            # fetched and handed on in between would be lost.
            active = {tp for tp in active if self._is_changelog_tp(tp)}
            if not active:
                await self.sleep(0.02)
                return {}
        self.not_waiting_next_records.clear()
        try:
            return await super()._getmany(active, min(timeout, POLL_S))
        finally:
            self.not_waiting_next_records.set()

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
            self.finished += changed
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

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: what was never delivered does not hold the gate."""

    async def wait_empty(self) -> None:
        """Waits until what was begun is finished and stored, at most half the rebalance timeout, and commits it."""
        deadline = monotonic() + self.app.conf.broker_rebalance_timeout / 2
        self._clean_unacked_messages()
        while self._unacked_messages and not self.should_stop and monotonic() < deadline:
            await self._wait_for_ack(timeout=1)
            self._clean_unacked_messages()
        await self.app.settle()
        await self.commit_and_end_transactions()

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
        await super().on_partitions_revoked(revoked)

    async def _finish_begun(self, revoked: set[TP]) -> None:
        # A fetch that outlived the rebalance would take records of the new assignment and drop them: recovery, having
        # sought to the changelog's beginning, would wait for them for ever.
        await self.wait_for_stopped_flow()
        if revoked and not self.app.should_stop:
            if self.app.conf.stream_wait_empty:
                await self.wait_empty()
            else:
                await self.commit_and_end_transactions()


class Transport(driver.Transport):  # type: ignore[misc]
    """What an app with `app.fence` and `app.fetch_max_wait_ms` uses in place of Faust's aiokafka driver."""

    Consumer = Consumer
    Producer = Producer
