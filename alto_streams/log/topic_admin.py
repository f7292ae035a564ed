"""Makes and verifies topics on a broker. Nothing else in the system creates a topic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, TopicAlreadyExistsError, for_code

from alto_streams.errors import PartDown, TopicsError
from alto_streams.log.broker_errors import is_readable, told
from alto_streams.log.topics_file import FoundTopic, TopicDifference, TopicSpec, differences
from alto_streams.parts import bootstrap_servers, redacted

REQUEST_S = 30.0
VISIBLE_S = 30.0
PAUSE_S = 0.05
GROUPS_ASKED = 16  # enough to meet each of the few partitions that keep groups


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did: the topics it made, and the settings of older ones that differ (it leaves them as they are)."""

    created: list[str]
    differing: list[TopicDifference]


async def apply(broker: str, specs: Sequence[TopicSpec], replication: int = 1) -> Applied:
    """Creates the topics that are missing and returns once every partition has a leader.

    May run anywhere at the same time as another. A partition count is never changed in place.

    Raises:
        TopicsError: a topic has another partition count, or the broker refuses one; with the remedy.
        PartDown: the broker does not answer.
    """
    async with _admin(broker) as admin:
        found = await _found(admin, specs)
        _refuse_recount(broker, specs, found)
        missing = [spec for spec in specs if spec.name not in found]
        created = await _create(admin, broker, missing, replication) if missing else []
        deadline = time.monotonic() + VISIBLE_S
        while any(spec.name not in found for spec in specs):
            found = await _found(admin, specs)
            if time.monotonic() > deadline:
                late = ", ".join(spec.name for spec in specs if spec.name not in found)
                raise PartDown("the broker", redacted(broker), f"no leader yet for {late}", "see the broker's log")
            await asyncio.sleep(PAUSE_S)
        _refuse_recount(broker, specs, found)  # another may have made one meanwhile
        return Applied(created, differences(specs, found, is_readable))


async def check(broker: str, specs: Sequence[TopicSpec]) -> list[TopicDifference]:
    """In what the broker's topics are not as wanted; empty if all is well. Changes nothing.

    Raises:
        PartDown: the broker does not answer.
    """
    async with _admin(broker) as admin:
        return differences(specs, await _found(admin, specs), is_readable)


async def insist(broker: str, specs: Sequence[TopicSpec]) -> None:
    """Makes sure that the broker has all of these topics. Changes nothing.

    Raises:
        TopicsError: topics are missing; names all of them.
        PartDown: the broker does not answer.
    """
    missing = [one.topic for one in await check(broker, specs) if one.found is None]
    if missing:
        names = "".join(f"\n  {name}" for name in missing)
        raise TopicsError(
            f"broker {redacted(broker)}: {len(missing)} of {len(specs)} topics are missing, and --no-create forbids to "
            f"create them; run `alto-streams topics apply`, or leave --no-create out:{names}"
        )


async def await_groups(broker: str) -> None:
    """Returns once a new broker has somebody to keep consumer groups: it makes their topic when first asked for one.

    Raises:
        PartDown: it does not get there, or does not answer.
    """
    async with _admin(broker) as admin:
        deadline = time.monotonic() + VISIBLE_S
        for number in range(GROUPS_ASKED):
            while True:
                try:
                    await admin.find_coordinator(f"alto.{number}")
                    break
                except GroupCoordinatorNotAvailableError:
                    if time.monotonic() > deadline:
                        raise
                await asyncio.sleep(PAUSE_S)


def _refuse_recount(broker: str, specs: Sequence[TopicSpec], found: dict[str, FoundTopic]) -> None:
    wrong = [one for one in differences(specs, found, is_readable) if one.what == "partition count"]
    if wrong:
        raise TopicsError(f"broker {redacted(broker)}: " + "\n".join(str(one) for one in wrong))


async def _create(admin: AIOKafkaAdminClient, broker: str, specs: Sequence[TopicSpec], replication: int) -> list[str]:
    new = [NewTopic(s.name, s.partitions, replication, topic_configs=s.config()) for s in specs]
    answer = await admin.create_topics(new, timeout_ms=int(REQUEST_S * 1000))
    created = []
    for name, code, *detail in answer.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is not TopicAlreadyExistsError:
            why = (detail[0] if detail else None) or error.__name__
            raise TopicsError(
                f"broker {redacted(broker)} refuses topic {name}: {why}; "
                f"check its fields in topics.yaml and ALTO_REPLICATION (now {replication})"
            )
    return created


async def _found(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> dict[str, FoundTopic]:
    """Those of the topics that exist, with a leader for each partition.

    Asks for all topics: to ask by name makes the topic on brokers that create topics by themselves.
    """
    wanted = {spec.name for spec in specs}
    counts = {
        topic["topic"]: len(topic["partitions"])
        for topic in await admin.describe_topics()
        if topic["topic"] in wanted
        and topic["error_code"] == 0
        and topic["partitions"]
        and all(partition["leader"] >= 0 for partition in topic["partitions"])
    }
    if not counts:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in counts]
    config: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for _code, _text, _kind, name, entries in answer.resources:
            config[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return {name: FoundTopic(count, config.get(name, {})) for name, count in counts.items()}


@asynccontextmanager
async def _admin(broker: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers(broker), request_timeout_ms=int(REQUEST_S * 1000))
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise told(error, broker, "topics were looked at or made") from error
    finally:
        await admin.close()
