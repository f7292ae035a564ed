"""Topics are made once, verified, and never recounted, on each broker."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from alto_streams.errors import PartDown, TopicsError
from alto_streams.log import topic_admin
from alto_streams.log.topics_file import TopicSpec, required_topics
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, Server


def some_topics() -> list[TopicSpec]:
    return required_topics(f"p{uuid.uuid4().hex[:8]}", ["answer", "report"], ["answer"])


async def topics_of(server: Server) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{server.port}")
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def test_check_tells_what_is_missing_and_makes_nothing(broker: Server) -> None:
    specs = some_topics()
    before = await topics_of(broker)
    told = await topic_admin.check(broker.url, specs)
    assert {one.topic for one in told if one.found is None} == {spec.name for spec in specs}
    assert await topics_of(broker) == before


async def test_apply_makes_what_is_missing_once(broker: Server) -> None:
    specs = some_topics()
    first = await topic_admin.apply(broker.url, specs[:3])
    assert first.created == [spec.name for spec in specs[:3]]
    second = await topic_admin.apply(broker.url, specs)
    assert set(second.created) == {spec.name for spec in specs[3:]}
    assert second.differing == []
    third = await topic_admin.apply(broker.url, specs)
    assert (third.created, third.differing) == ([], [])
    assert await topic_admin.check(broker.url, specs) == []


async def test_apply_from_several_places_at_once(broker: Server) -> None:
    specs = some_topics()
    done = await asyncio.gather(*(topic_admin.apply(broker.url, specs) for _ in range(3)))
    assert sorted(name for one in done for name in one.created) == sorted(spec.name for spec in specs)


async def test_a_partition_count_is_never_changed(broker: Server) -> None:
    specs = some_topics()
    await topic_admin.apply(broker.url, specs)
    other = [replace(spec, partitions=spec.partitions + 1) for spec in specs[:1]]
    with pytest.raises(TopicsError, match=r"partition count is 8, wanted 9.*never changed in place"):
        await topic_admin.apply(broker.url, other)
    assert await topic_admin.check(broker.url, specs) == []


async def test_another_retention_is_told_and_left(broker: Server) -> None:
    spec = some_topics()[0]
    await topic_admin.apply(broker.url, [spec])
    applied = await topic_admin.apply(broker.url, [replace(spec, retention_ms=600_000)])
    assert {one.what for one in applied.differing} == {"retention.ms", "segment.ms"}
    assert await topic_admin.check(broker.url, [spec]) == []


async def test_a_refused_topic_is_named(kafka: Server) -> None:
    spec = some_topics()[0]
    with pytest.raises(TopicsError, match=f"refuses topic {spec.name}: .*ALTO_REPLICATION .now 3."):
        await topic_admin.apply(kafka.url, [spec], replication=3)


async def test_a_broker_that_is_not_there_is_named() -> None:
    nowhere = f"kafka://{HOST}:{free_ports(1)[0]}"
    with pytest.raises(PartDown, match=f"the broker at {nowhere}: .*ALTO_BROKER"):
        await topic_admin.check(nowhere, some_topics())
