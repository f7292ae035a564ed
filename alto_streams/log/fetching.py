"""aiokafka's consumer, as Faust asks for it: fetches, belongs to the group, and tells the fence of its heartbeats.

Faust runs it in a thread with an event loop of its own, so that heartbeats go on while the worker is blocked. That
costs two wake-ups of either thread for every poll, a quarter of what a worker costs in all, and leaves partitions with
a worker that does nothing for them. Here it runs in the worker's own loop. One that is blocked for longer than its
session loses its partitions, and its fence keeps it from producing before it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.utils.futures import maybe_async

from alto_streams.log.broker_errors import told
from alto_streams.log.consumer import LogConsumer
from alto_streams.log.fence import Fence
from alto_streams.log.late_records import Holes
from alto_streams.log.producer import bootstrap, connected, faust_log

log = logging.getLogger(__name__)


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """aiokafka's group membership; tells the fence of heartbeats, and leaves the group on a clean stop.

    aiokafka sends no LeaveGroup for a static member, so its partitions would stall for the session timeout.
    """

    fence: Fence

    async def ensure_coordinator_known(self) -> None:
        """As aiokafka's, which dies of a broker that names no broker: one that has just begun, or reported late."""
        while not self._closing.done():
            try:
                await super().ensure_coordinator_known()
                return
            except AssertionError:
                log.warning("%s: the broker names no broker at this moment; asking again", self.group_id)
                await asyncio.sleep(self._retry_backoff_ms / 1000)
                await self._client.force_metadata_update()

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


class Fetching(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """What Faust takes for its consumer's thread.

    Its fetch wait is a setting, and our assignor counts even without tables.
    """

    logger = faust_log
    wait_for_shutdown = False

    def __init__(self, consumer: Any, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, **kwargs)
        self._holes: Holes[Any] = Holes()
        self._waiter: asyncio.Future[None] | None = None

    # Its base class hands all of this to another thread.
    start = Service.start
    stop = Service.stop
    crash = Service.crash
    set_shutdown = Service.set_shutdown
    _stopped_set = Service._stopped_set
    _stop_children = Service._stop_children
    _stop_futures = Service._stop_futures
    _stop_exit_stacks = Service._stop_exit_stacks

    def _get_tasks(self) -> Iterable[Any]:
        return ()  # they would keep two loops awake

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls it here and now."""
        return await maybe_async(fun(*args, **kwargs))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Tells the consumer, in its own loop."""
        await self.consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tells the consumer, in its own loop."""
        await self.consumer.on_partitions_assigned(assigned, generation_id)

    async def on_start(self) -> None:
        """Connects, waiting with backoff while no broker answers."""
        self.time_started = monotonic()
        await connected(self, ", ".join(bootstrap(self.transport)), self._connect)

    async def on_stop(self) -> None:
        """Leaves the group and closes."""
        if self._consumer is not None:
            try:
                await self._consumer.stop()
            finally:  # where leaving fails, aiokafka leaves its connections open
                await self._consumer._client.close()

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

    def wake(self) -> None:
        """Ends a wait in `getmany`: what may be fetched has changed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def rejoin(self) -> None:
        """Joins the group again under the same subscription; that is a rebalance where this member leads."""
        self._ensure_consumer()._coordinator.request_rejoin()

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        """Records of these partitions that have come; where there are none, {} once some have, or after a wait.

        It never waits with records in hand: who asks for them can say at once whether they are still wanted. And it
        waits for no assignment, as aiokafka's own does once a rebalance has begun.
        """
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise driver.ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            if active_partitions and not fetcher._subscriptions.reassignment_in_progress:
                found = await self._fetched(consumer, active_partitions)
                if found:
                    return found
            self._waiter = waiter = fetcher._create_fetch_waiter()
            end = self.loop.call_later(timeout, self.wake)
            try:
                await waiter
            finally:
                end.cancel()
        return {}

    async def _fetched(self, consumer: Any, active: set[TP]) -> Any:
        """Without a wait; and up to a hole, on a broker that may show records late (see `holes`)."""
        if self.app.sender.idempotent:
            return await self._unpacked(consumer, active)
        positions = {tp: _position(consumer, tp) for tp in active}
        found = await self._unpacked(consumer, active)
        for tp, records in list(found.items()):
            kept, hole = self._holes.before_hole(tp, positions.get(tp), records)
            if hole is not None:
                consumer.seek(tp, hole)
                found[tp] = kept
                if not kept:
                    del found[tp]
        return found

    async def _unpacked(self, consumer: Any, active: set[TP]) -> Any:
        try:
            return await consumer._fetcher.fetched_records(active, 0, consumer._max_poll_records)
        except KafkaError as error:
            raise told(error, ", ".join(bootstrap(self.transport)), "records were fetched") from error

    def _create_worker_consumer(self, transport: Any) -> LogConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        return LogConsumer(
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
