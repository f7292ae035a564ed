"""The whole system on one machine, as parts for the supervisor.

    tansu ─ topics ─┬─ one worker per stage, one per model, egress ─┐
    valkey ─────────┤                                               ├─ all up
    engine ─────────┴─ gateway ─────────────────────────────────────┘

The engine loads its weights while the workers start; an LM worker waits for it by itself. Where a model has several LM
workers there is a scheduler besides; with one there is nothing to plan, and partitions take turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import ConfigError
from alto_streams.local import forks, ping, servers
from alto_streams.local.supervisor import Part
from alto_streams.log import topic_admin
from alto_streams.log.topics_file import TopicsFile, to_yaml
from alto_streams.models.cards import Card, cards
from alto_streams.models.kinds import LOCAL
from alto_streams.scheduler.policies import follows_plans
from alto_streams.settings import Settings
from alto_streams.worker.tcp_ports import check_free, free_ports

HOST = "127.0.0.1"
GATEWAY = "gateway"
# The embedded broker makes a group wait for half a session when it forms. It wakes no long poll, so the wait is added
# to every hop; and a poll costs it CPU for each partition, which the engine wants: so short waits and few partitions.
TANSU_SETTINGS = {"session_timeout_s": 2.0, "heartbeat_s": 0.5, "fetch_max_wait_ms": 15, "producer_ids": False}
TANSU_PARTITIONS = 2
WRITTEN = "# `alto-streams up` writes this at each start, for its workers. For topics of your own: ALTO_TOPICS_FILE.\n"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What to run. `settings` are those of every process of it: clients on this machine use them too."""

    parts: list[Part]
    settings: Settings
    pipelines: Mapping[str, Pipeline]

    @property
    def gateway(self) -> str:
        """The first gateway's address."""
        return f"http://{HOST}:{self.settings.gateway_port}"

    @property
    def keeps(self) -> str:
        """What is there again after all of it has ended."""
        names = {part.name for part in self.parts}
        if servers.KAFKA in names:
            kept = (self.settings.var / servers.KAFKA).resolve()
            return f"the log, in {kept}; unfinished requests go on at the next start"
        if servers.TANSU in names:
            return "nothing: its broker has the log in memory, and all ends with it; `up --kafka` keeps it"
        return "what its broker keeps"

    @property
    def gateways(self) -> list[str]:
        """The addresses of all gateways."""
        return [part.address for part in self.parts if part.name.startswith(GATEWAY)]


def local_cluster(
    config: Settings,
    pipelines: Mapping[str, Pipeline],
    topics: TopicsFile,
    *,
    own_broker: bool = True,
    own_redis: bool = True,
    workers: int = 1,
    lm_workers: int | None = None,
    gateways: int = 1,
    create: bool = True,
    durable: bool = False,
) -> Cluster:
    """The parts for these pipelines. `own_broker`, `own_redis`: start one here instead of using the one at its address.

    `durable`: the own broker is Apache Kafka, with its log in the var folder, instead of the embedded one.

    `workers`: how many processes per stage and per model (the embedded broker takes one); `lm_workers`: per model, if
    that differs. `gateways`: how many of them, the first at the configured port, the others at free ones. Models
    without a card get the local one. `create`: make the topics that are missing, instead of refusing to start.

    Raises:
        ConfigError: an address is not of this machine, a wheel is missing, or the embedded broker has many workers.
    """
    is_embedded = own_broker and not durable
    if is_embedded and workers > 1:
        raise ConfigError(f"{workers} workers a stage: the embedded broker takes one; add --kafka, or set ALTO_BROKER")
    models = sorted({model for pipeline in pipelines.values() for model in pipeline.models()})
    known, parts = cards(config), list[Part]()
    missing = {model: LOCAL.name for model in models if model not in known}
    known |= {model: Card(engine=LOCAL.name) for model in missing}
    policy = config.policy if (lm_workers or workers) > 1 else "round_robin"
    changes: dict[str, object] = {"models": config.models | missing, "host": HOST, "policy": policy}
    if local := {model: known[model] for model in models if known[model].kind.started}:
        (port,) = free_ports(1)
        parts.append(servers.engine(port, config, local))
        changes["local_engine"] = f"http://{HOST}:{port}/v1"
    if own_broker:
        parts.append(servers.kafka_node(config.broker, config.var) if durable else servers.tansu(config.broker))
        changes["topics_file"] = (config.var / "topics.yaml").absolute()
    if is_embedded:
        changes |= TANSU_SETTINGS
        topics = topics.shrunk(TANSU_PARTITIONS)
    if own_redis:
        parts.append(servers.valkey(config.redis))
    config = config.model_copy(update=changes)
    needs = tuple(part.name for part in parts)

    brokers = tuple(name for name in needs if name in (servers.TANSU, servers.KAFKA))
    parts.append(_topics(config, topics, brokers, create=create))
    env = environment(config)
    base = tuple(name for name in (*needs, "topics") if name != "engine")
    parts += _workers(config, pipelines, models, env, base, workers, lm_workers or workers)
    ports = [config.gateway_port, *free_ports(gateways - 1)]
    parts += [_gateway(port, GATEWAY if n == 1 else f"{GATEWAY}-{n}", env, base) for n, port in enumerate(ports, 1)]
    return Cluster(parts, config, pipelines)


def _topics(config: Settings, topics: TopicsFile, needs: tuple[str, ...], *, create: bool) -> Part:
    """The step that makes the topics. Of a broker that is started here (`needs`) it also writes them down."""

    async def apply() -> None:
        if needs and config.topics_file is not None:
            config.topics_file.parent.mkdir(parents=True, exist_ok=True)
            config.topics_file.write_text(WRITTEN + to_yaml(topics.specs))
        if not create:
            await topic_admin.insist(config.broker, topics.specs)
        await topic_admin.apply(config.broker, topics.specs, config.replication)
        if servers.KAFKA in needs:
            await topic_admin.await_groups(config.broker)

    return Part("topics", run=apply, address=config.broker, needs=needs)


def on_free_ports(config: Settings) -> Settings:
    """The same settings with broker, Redis and gateway on free ports: a system beside another one."""
    broker, redis, gateway = free_ports(3)
    return config.model_copy(
        update={
            "broker": f"kafka://{HOST}:{broker}",
            "redis": f"redis://{HOST}:{redis}/0",
            "gateway_port": gateway,
        }
    )


def environment(config: Settings) -> dict[str, str]:
    """The environment that gives a child these settings."""
    result: dict[str, str] = {}
    for name, value in config.model_dump().items():
        if value is None or name in ("worker_port", "app", "group_instance_id"):
            continue
        if isinstance(value, dict):
            value = ",".join(f"{key}={target}" for key, target in value.items())
        elif isinstance(value, list):
            value = ",".join(value)
        elif isinstance(value, SecretStr):
            value = value.get_secret_value()
        result[f"ALTO_{name.upper()}"] = str(value)
    return result


def _workers(
    config: Settings,
    pipelines: Mapping[str, Pipeline],
    models: Sequence[str],
    env: Mapping[str, str],
    needs: tuple[str, ...],
    each: int,
    each_model: int,
) -> list[Part]:
    """One part per worker process, each with a web port of its own."""
    qualified = len(pipelines) > 1
    roles: list[tuple[str, list[str], int]] = []
    for pipeline in pipelines.values():
        of = ["--pipeline", pipeline.name] if qualified else []
        prefix = f"{pipeline.name}." if qualified else ""
        roles += [(f"{prefix}{stage}", ["worker", stage, *of], each) for stage in pipeline.stages]
        roles.append((f"{prefix}egress", ["worker", "--egress", *of], each))
    roles += [(f"lm-{model}", ["worker", "--model", model], each_model) for model in models]
    if follows_plans(config.policy):
        roles.append(("scheduler", ["worker", "--scheduler"], 1))
    named = [(name if n == 0 else f"{name}-{n + 1}", command) for name, command, count in roles for n in range(count)]
    ports = [config.worker_port + n for n in range(len(named))] if config.worker_port else free_ports(len(named))
    return [_worker(name, command, port, env, needs) for (name, command), port in zip(named, ports, strict=True)]


def _worker(name: str, command: Sequence[str], port: int, env: Mapping[str, str], needs: tuple[str, ...]) -> Part:
    return Part(
        name,
        [*forks.COMMAND, *command],
        lambda: ping.http_answers(HOST, port, "/ready"),
        before=lambda: check_free(f"The worker {name}", HOST, port, "ALTO_WORKER_PORT"),
        address=f"http://{HOST}:{port}",
        env={**env, "ALTO_WORKER_PORT": str(port)},
        needs=needs,
    )


def _gateway(port: int, name: str, env: Mapping[str, str], needs: tuple[str, ...]) -> Part:
    return Part(
        name,
        [*forks.COMMAND, "gateway", "--port", str(port)],
        lambda: ping.http_answers(HOST, port, "/healthz"),
        before=lambda: check_free("The gateway", HOST, port, "ALTO_GATEWAY_PORT"),
        address=f"http://{HOST}:{port}",
        env=env,
        needs=needs,
    )
