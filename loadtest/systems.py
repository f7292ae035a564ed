"""A whole system to be measured: Apache Kafka, Valkey, and the workers and gateway that `alto-streams up` starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alto_streams.define.loading import load_pipelines
from alto_streams.local.cluster import GATEWAY, local_cluster
from alto_streams.local.supervisor import SOUND_AFTER_S, Progress, Supervisor
from alto_streams.log.topics_file import TopicsFile, required_topics, scheduler_topics, to_yaml
from alto_streams.settings import Settings
from alto_streams.worker.tcp_ports import free_ports
from loadtest.kafka import Kafka
from loadtest.servers import HOST
from loadtest.valkey import Valkey

MOST_PARTITIONS = 1_000  # more than any topic has


@dataclass(frozen=True, slots=True)
class System:
    """What runs. `addresses`: of each part, by the name that the supervisor gives it."""

    gateway: str
    addresses: Mapping[str, str]
    settings: Settings
    supervisor: Supervisor
    kafka: Kafka
    valkey: Valkey

    @property
    def gateways(self) -> list[str]:
        """The addresses of all gateways."""
        return [address for part, address in self.addresses.items() if part.startswith(GATEWAY)]


@dataclass(frozen=True, slots=True)
class Care:
    """How many gateways there are, what the supervisor is told, how the broker is compiled (see there), and how many
    partitions a topic has at most."""

    gateways: int = 1
    progress: Progress | None = None
    sound_after_s: float = SOUND_AFTER_S
    steady: bool = False
    partitions: int = MOST_PARTITIONS


@asynccontextmanager
async def system(
    folder: Path,
    pipeline: str,
    models: Mapping[str, str],
    care: Care = Care(),
    /,
    *,
    workers: int,
    lm_workers: int | None = None,
    **more: Any,
) -> AsyncIterator[System]:
    """The pipeline of the module `pipeline` on Apache Kafka, with so many workers per stage and model.

    `lm_workers`: per model, if that differs. `more`: other settings of every process. Logs are in `folder`.

    Raises:
        Unavailable: this machine cannot run Apache Kafka.
        PartFailed: a part did not start.
    """
    kafka, valkey = Kafka(folder / "kafka", steady=care.steady), Valkey("valkey", folder / "valkey")
    try:
        await asyncio.gather(asyncio.to_thread(kafka.start), asyncio.to_thread(valkey.start))
        topics = _topics(pipeline).shrunk(care.partitions)
        file = folder / "topics.yaml"
        file.write_text(to_yaml(topics.specs))
        own = {
            "broker": kafka.url,
            "redis": valkey.url,
            "host": HOST,
            "gateway_port": free_ports(1)[0],
            "pipelines": [pipeline],
            "models": dict(models),
            "topics_file": file,
            "var": folder / "var",
        }
        config = Settings(_env_file=None).model_copy(update=own | more)  # type: ignore[call-arg]
        loaded = load_pipelines(config.pipelines)
        cluster = local_cluster(
            config,
            loaded,
            topics,
            own_broker=False,
            own_redis=False,
            workers=workers,
            lm_workers=lm_workers,
            gateways=care.gateways,
        )
        supervisor = Supervisor(cluster.parts, folder / "logs", care.progress, sound_after_s=care.sound_after_s)
        async with supervisor:
            addresses = {part.name: part.address for part in cluster.parts}
            yield System(cluster.gateway, addresses, cluster.settings, supervisor, kafka, valkey)
    finally:
        await asyncio.gather(asyncio.to_thread(kafka.stop), asyncio.to_thread(valkey.stop))


def _topics(module: str) -> TopicsFile:
    specs = []
    for pipeline in load_pipelines([module]).values():
        callers = [stage for stages in pipeline.models().values() for stage in stages]
        specs += required_topics(pipeline.name, list(pipeline.stages), callers)
    return TopicsFile("what the pipeline needs", (*specs, *scheduler_topics()))
