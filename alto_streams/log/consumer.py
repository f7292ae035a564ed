"""aiokafka's consumer, with answers that mean the same on every broker (docs/brokers.md says where brokers differ)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from alto_streams.errors import NotInLog

# The embedded broker leaves a fetch that waits 0 ms without an answer, and looks at half the wait.
LOOK_MS, LOOK_BYTES, READ_UNCOMMITTED = 1, 1, 0


class LogConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer whose `end_offsets` are the ends.

    The embedded broker answers a question for the end with the offset behind the *first* record of the last batch; only
    a fetch tells the end. So each end is asked for twice, and the higher answer counts.

    Ask for ends and beginnings before partitions are assigned: a broker answers a connection in order, and behind a
    fetch that waits for records the answer waits as long.
    """

    async def places(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic. Asks for none by name: that makes the topic, on some brokers.

        Raises:
            NotInLog: there is no such topic.
        """
        partitions = (await self._client.fetch_all_metadata()).partitions_for_topic(topic)
        if not partitions:
            raise NotInLog(f"topic {topic} does not exist on this broker; create it with `alto-streams topics apply`")
        await self._client.add_topic(topic)  # else the first question about it is answered after a backoff
        return [TopicPartition(topic, each) for each in sorted(partitions)]

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset behind the last record of each partition.

        Raises:
            KafkaError: the broker does not answer.
        """
        told: dict[TopicPartition, int] = dict(await super().end_offsets(list(partitions)))
        by_leader: dict[int, dict[str, list[tuple[int, int, int]]]] = defaultdict(lambda: defaultdict(list))
        for place, end in told.items():
            leader = self._client.cluster.leader_for_partition(place)
            if leader is not None and leader >= 0:
                by_leader[leader][place.topic].append((place.partition, end, LOOK_BYTES))
        for leader, topics in by_leader.items():
            look = FetchRequest(LOOK_MS, 0, LOOK_BYTES, READ_UNCOMMITTED, list(topics.items()))
            answer = await self._client.send(leader, look)
            for topic, found in answer.topics:
                for partition, error_code, highwater, *_ in found:
                    place = TopicPartition(topic, partition)
                    if error_code == 0 and place in told:
                        told[place] = max(told[place], highwater)
        return told
