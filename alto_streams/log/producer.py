"""The producing half of the Kafka transport under Faust, and how both halves wait for a broker that is late."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.transport import producer as faust_producer
from faust.transport.drivers import aiokafka as driver
from mode import Service

from alto_streams.log.broker_errors import START
from alto_streams.log.sender import Sender
from alto_streams.parts import Backoff

log = logging.getLogger(__name__)
faust_log = logging.getLogger("faust.transport")  # what Faust's services say about themselves


async def connected(part: Any, address: str, connect: Callable[[], Any]) -> bool:
    """Awaits `connect()` until it works, saying which address does not answer. False if `part` was stopped instead."""
    backoff = Backoff()
    while not part.should_stop:
        try:
            await connect()
        except (KafkaError, OSError) as error:
            wait_s = backoff.next_s()
            detail = str(error) or repr(error)
            log.warning(
                "broker at %s cannot be reached (%s); %s; trying again in %.1f s", address, detail, START, wait_s
            )
            await part.sleep(wait_s)
        else:
            return True
    return False


def bootstrap(transport: Any) -> list[str]:
    """The brokers' `host:port` pairs."""
    return cast("list[str]", driver.server_list(transport.url, transport.default_port))


class Buffer(faust_producer.ProducerBuffer):  # type: ignore[misc]
    """Faust's buffer of records sent from synchronous code, with a flush that waits until it is empty.

    Stock `flush` gives up after 100 ms without progress: a broker's pause lets offsets be committed before changelogs.
    """

    logger = faust_log

    async def flush(self) -> None:
        """Waits until every record put before has been handed to the producer."""
        if self.started and not self.should_stop:
            await self.wait_first(self.pending.join())
        while self.should_stop and not self.pending.empty():
            await self._hand_over(self.pending.get_nowait())

    async def _hand_over(self, record: Any) -> None:
        try:
            await self._send_pending(record)
        finally:
            self.pending.task_done()
            self.message_sent.set()

    @Service.task  # type: ignore[untyped-decorator]
    async def _handle_pending(self) -> None:
        while not self.should_stop:
            await self._hand_over(await self.pending.get())


class Producer(driver.Producer):  # type: ignore[misc]
    """Faust's producer over our `Sender`: idempotent, acknowledged by all replicas, replaced after a failure."""

    logger = faust_log
    sender: Sender

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = Buffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app
        self._address = ", ".join(bootstrap(self.transport))
        self.sender = Sender(self._fresh, self._address, self.app.fence, idempotent=self.app.producer_ids)

    @property
    def _producer(self) -> Any:
        return self.sender.producer

    def _fresh(self, idempotent: bool) -> AIOKafkaProducer:
        settings = {**self._settings_default(), **self._settings_auth()}
        return AIOKafkaProducer(**{**settings, "acks": "all", "enable_idempotence": idempotent})

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Creates nothing: topics are created from topics.yaml, and by nothing else."""

    async def on_start(self) -> None:
        """Connects, waiting with backoff while no broker answers."""
        await self.add_runtime_dependency(self.buffer)
        await connected(self, self._address, self.sender.start)

    async def on_stop(self) -> None:
        """Sends what is buffered and closes."""
        await self.buffer.flush()
        await self.sender.stop()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Any:
        """Faust's own sends. Timestamps and headers are not ours to use and are dropped."""
        return await self.sender.enqueue(topic, key, value, partition)

    async def flush(self) -> None:
        """Waits until the buffer is empty and everything sent has been acknowledged or has failed."""
        await self.buffer.flush()
        await self.sender.flush()
