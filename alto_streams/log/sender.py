"""Sends records straight through aiokafka's idempotent producer, and says what became of each.

Everything that a worker produces goes this way: one producer, so the records of a run keep their order. An idempotent
producer whose batch failed for good has sequence numbers that the broker no longer expects, and refuses everything from
then on (aiokafka #1017): so any failure ends this producer, fails what it still held, and a new one takes its place.

What the old one had sent may still be on its way: a broker that stood still, or throttles, reads it later. The new one
takes over the old one's id under the next epoch, so the broker refuses it from the first record of the new one on: a
late record lands before its successors or not at all (KIP-360).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    UnknownError,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import RecordMetadata

from alto_streams.errors import Fenced, Poison, Retryable
from alto_streams.log.fence import Fence
from alto_streams.parts import Backoff

log = logging.getLogger(__name__)

WATCH_S = 0.25
DISCARD_S = 1.0  # how long a broken producer may take to close
LAST_EPOCH = 32_767
FORGOTTEN = (InvalidProducerEpoch, ProducerFenced, UnknownProducerId)  # the id is nobody's, or another's
Delivery = asyncio.Future[RecordMetadata]


class Out(NamedTuple):
    """A record to be sent. Without a partition the key's hash decides; without a value it is a tombstone."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None


class Sender:
    """One idempotent producer, acknowledged by all in-sync replicas, and its replacement after a failure.

    `new_producer` makes a fresh, unstarted producer, idempotent or not; `address` is for messages; `fence` is asked
    before every record. A broker that hands out no producer ids (Tansu 0.6) is used without idempotence: aiokafka keeps
    one request in flight per node, so order holds, but a retry may append a record twice.
    """

    def __init__(
        self,
        new_producer: Callable[[bool], AIOKafkaProducer],
        address: str,
        fence: Fence,
        *,
        idempotent: bool = True,
    ) -> None:
        """`idempotent`: whether producer ids are asked for."""
        self._new_producer = new_producer
        self._address = address
        self._fence = fence
        self._producer: AIOKafkaProducer | None = None
        self._usable = asyncio.Event()
        self._rebuilding: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopped = False
        self._idempotent = idempotent
        self._identity: tuple[int, int] | None = (
            None  # producer id and epoch of the producer in use, or of the last one
        )
        self.rebuilt = 0  # how often a producer was replaced

    @property
    def producer(self) -> AIOKafkaProducer | None:
        """The producer in use; None before the start, after the stop and while it is being replaced."""
        return self._producer

    @property
    def idempotent(self) -> bool:
        """Whether the broker hands out producer ids, as Apache Kafka does and Tansu does not."""
        return self._idempotent

    async def start(self) -> None:
        """Connects. Raises `KafkaError` if no broker answers."""
        try:
            producer = await self._started(self._idempotent)
        except UnknownError:
            if not self._idempotent:
                raise
            producer = await self._started(False)
            self._idempotent = False
            log.warning("broker at %s hands out no producer ids: a retried send may appear twice", self._address)
        self._use(producer)
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch_fence())

    async def _started(self, idempotent: bool) -> AIOKafkaProducer:
        producer = self._new_producer(idempotent)
        if idempotent and self._identity is not None:
            producer._txn_manager.set_pid_and_epoch(*self._identity)
        try:
            await producer.start()
        except BaseException:
            await _discard(producer)
            raise
        return producer

    async def stop(self) -> None:
        """Sends what is buffered and closes; a send after that raises `Retryable`."""
        self._stopped = True
        self._usable.set()
        for task in (self._rebuilding, self._watching):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await producer.stop()
            finally:  # where the last send fails, aiokafka leaves its connections open
                await producer.client.close()

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None
    ) -> RecordMetadata:
        """Sends a record and waits until all in-sync replicas have it; answers where it is in the log.

        Raises:
            Fenced: the last heartbeat is older than the session timeout; nothing was sent.
            Retryable: it failed, or what became of it is unknown; the producer is being replaced.
            Poison: the record can never be sent (too large).
        """
        return await self.delivered(await self.enqueue(topic, key, value, partition), topic)

    async def send_all(self, records: Iterable[Out]) -> list[RecordMetadata]:
        """Sends records in their order and waits for all of them. Raises as `send`, for the first that failed."""
        deliveries = [(await self.enqueue(*record), record.topic) for record in records]
        if deliveries:
            await asyncio.wait([delivery for delivery, _ in deliveries])
        try:
            for delivery, topic in deliveries:  # noqa: B007 - the topic of the one that failed
                delivery.result()
        except KafkaError as error:
            raise self._failure(topic, error) from error
        return [delivery.result() for delivery, _ in deliveries]

    async def enqueue(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None
    ) -> Delivery:
        """Puts a record into the producer's buffer, in order, waiting only while the buffer is full.

        Returns a future to be given to `delivered`. Raises as `send`.
        """
        self._fence.check()
        producer = self._producer
        while producer is None:
            if self._stopped:
                raise Retryable(f"the producer for the broker at {self._address} has been stopped")
            await self._usable.wait()
            self._fence.check()
            producer = self._producer
        try:
            delivery: Delivery = await producer.send(topic, value, key=key, partition=partition)
        except MessageSizeTooLargeError as error:
            raise Poison(f"a record for topic {topic} is larger than a record may be: {error}") from None
        except UnknownTopicOrPartitionError:
            raise Retryable(
                f"topic {topic} is not known: the broker at {self._address} does not answer, or the topic is missing"
                " (run `alto-streams topics apply`)"
            ) from None
        except AssertionError:
            raise Poison(f"topic {topic} has no partition {partition}") from None
        except KafkaError as error:
            self._replace(producer, error)
            raise self._failure(topic, error) from error
        delivery.add_done_callback(lambda done: self._observe(producer, done))
        return delivery

    async def delivered(self, delivery: Delivery, topic: str) -> RecordMetadata:
        """Waits for an enqueued record. Raises as `send`."""
        try:
            return await asyncio.shield(delivery)
        except KafkaError as error:
            raise self._failure(topic, error) from error

    async def flush(self) -> None:
        """Waits until everything that was enqueued has been acknowledged or has failed."""
        if self._producer is not None:
            await self._producer.flush()

    async def _watch_fence(self) -> None:
        # aiokafka would go on trying to send what it holds: after a cut longer than the session that is a zombie's.
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                self._fence.check()
            except Fenced as error:
                producer = self._producer
                if producer is not None and _held(producer):
                    self._replace(producer, error)

    def _failure(self, topic: str, error: KafkaError) -> Exception:
        if isinstance(error, MessageSizeTooLargeError):
            return Poison(f"a record for topic {topic} is larger than the broker at {self._address} takes: {error}")
        if isinstance(error, ProducerFenced):
            return Fenced(f"the broker at {self._address} has fenced this producer: {error}")
        return Retryable(f"sending to topic {topic} at {self._address} failed: {error!r}")

    def _observe(self, producer: AIOKafkaProducer, delivery: Delivery) -> None:
        error = None if delivery.cancelled() else delivery.exception()
        if error is not None:
            self._replace(producer, error)

    def _use(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        if self._idempotent:
            self._identity = (producer._txn_manager.producer_id, producer._txn_manager.producer_epoch)
        self._usable.set()

    def _replace(self, broken: AIOKafkaProducer, error: BaseException) -> None:
        if broken is not self._producer or self._stopped:
            return
        log.warning("broker at %s: a send failed, the producer is replaced: %r", self._address, error)
        self._producer, self._identity = None, _successor(self._identity, error)
        self._usable.clear()
        self._rebuilding = asyncio.get_running_loop().create_task(self._rebuild(broken, error))

    async def _rebuild(self, broken: AIOKafkaProducer, error: BaseException) -> None:
        # What the old producer still holds comes after the failed record: it fails too, so that no order is broken.
        _fail_all(broken, error)
        await _discard(broken)
        backoff = Backoff()
        while True:
            try:
                await self.start()
            except Exception as again:  # whatever it is: without a producer this worker would be mute for ever
                wait_s = backoff.next_s()
                log.warning("broker at %s cannot be reached, trying again in %.1f s: %r", self._address, wait_s, again)
                await asyncio.sleep(wait_s)
            else:
                self.rebuilt += 1
                return


def _successor(identity: tuple[int, int] | None, error: BaseException) -> tuple[int, int] | None:
    """Who takes the place of a producer that failed so: the next epoch of its id; None where the broker has to say."""
    if identity is None or isinstance(error, FORGOTTEN) or identity[1] >= LAST_EPOCH:
        return None
    return identity[0], identity[1] + 1


async def _discard(producer: AIOKafkaProducer) -> None:
    """Closes a producer without waiting for what it could not deliver. Whatever it raises, it is given up."""
    producer._closed = True
    if (sending := producer._sender.sender_task) is not None:
        sending.remove_done_callback(producer._sender._fail_all)  # it fails for want of a transaction
    for close in (producer._sender.close, producer.client.close):
        # Its tasks stumble over batches that were failed under them, with errors of any kind (KeyError was seen).
        with contextlib.suppress(Exception):
            await asyncio.wait_for(close(), DISCARD_S)


def _held(producer: AIOKafkaProducer) -> list[Any]:
    """The batches that a producer has not delivered: waiting, and under way or about to be tried again."""
    accumulator = producer._message_accumulator
    waiting = [batch for batches in accumulator._batches.values() for batch in batches]
    return [*waiting, *accumulator._pending_batches]


def _fail_all(producer: AIOKafkaProducer, error: BaseException) -> None:
    accumulator, held = producer._message_accumulator, _held(producer)
    accumulator._pending_batches.update(held)  # each is taken from there when it has failed
    accumulator.fail_all(error)
    accumulator._batches.clear()  # the sending task must not find them
    for batch in held:  # nobody waits for room in these any more: mark the exception as seen
        if batch._drain_waiter.done():
            batch._drain_waiter.exception()
