"""How far a consumer group is behind its topics, asked of the broker itself, apart from any consumer of the group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from alto_streams.errors import PartDown
from alto_streams.log.consumer import LogConsumer
from alto_streams.parts import bootstrap_servers, redacted

log = logging.getLogger(__name__)

ANSWER_S = 10.0


class BrokerOffsets:
    """Asks over a connection of its own, opened when it is needed and again after a failure.

    It never joins the group: it only reads what the group has committed.
    """

    def __init__(self, broker: str, group: str) -> None:
        self._broker, self._group = broker, group
        self._consumer: LogConsumer | None = None
        self._past: set[TopicPartition] = set()

    async def lags(
        self, partitions: Collection[TopicPartition], position: Callable[[Any], int | None] = lambda tp: None
    ) -> dict[TopicPartition, int]:
        """How many records of each partition are not finished: from the end back to what is committed, or `position`.

        `position`: how far a partition is finished, where that is known to be further than what is committed.

        Raises:
            PartDown: the broker does not answer.
        """
        if not partitions:
            return {}
        try:
            async with asyncio.timeout(ANSWER_S):
                consumer = self._consumer or await self._connected()
                tps = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
                committed = await consumer._coordinator.fetch_committed_offsets(tps)
                starts = {tp: at.offset for tp, at in committed.items() if at.offset >= 0}
                fresh = [tp for tp in tps if tp not in starts]
                starts |= await consumer.beginning_offsets(fresh) if fresh else {}
                ends = await consumer.end_offsets(tps)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            detail = f"it does not tell how far behind {self._group} is ({type(error).__name__})"
            raise PartDown("the broker", redacted(self._broker), detail, "start it, or see its log") from error
        done = {tp: max(starts[tp], position(tp) or 0) for tp in tps}
        self._tell_made_anew({tp: (done[tp], ends[tp]) for tp in tps if done[tp] > ends[tp]})
        return {tp: max(0, ends[tp] - done[tp]) for tp in tps}

    def _tell_made_anew(self, past: dict[TopicPartition, tuple[int, int]]) -> None:
        """Of a topic that was deleted and made anew Apache Kafka says "out of range"; the embedded broker is silent."""
        for place in past.keys() - self._past:
            done, end = past[place]
            log.warning(
                "%s: group %s has read %s-%d up to %d, and it ends at %d: the topic was made anew, and what is before"
                " that offset is not read; start the workers anew",
                *(redacted(self._broker), self._group, place.topic, place.partition, done, end),
            )
        self._past = set(past)

    async def close(self) -> None:
        """Closes the connection; the next question opens another."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                try:
                    async with asyncio.timeout(ANSWER_S):
                        await consumer.stop()
                finally:  # where it fails or takes too long, aiokafka leaves its connections open
                    await consumer._client.close()

    async def _connected(self) -> LogConsumer:
        consumer = LogConsumer(
            bootstrap_servers=bootstrap_servers(self._broker),
            client_id="alto-watchdog",
            group_id=self._group,
            enable_auto_commit=False,
        )
        self._consumer = consumer
        await consumer.start()
        return consumer
