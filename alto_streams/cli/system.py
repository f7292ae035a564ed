"""Brings the whole system up on this machine for a command, and says how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from alto_streams.define.loading import load_pipelines
from alto_streams.errors import ConfigError, PortInUse
from alto_streams.local import kafka
from alto_streams.local.cluster import Cluster, local_cluster
from alto_streams.local.probing import probe
from alto_streams.local.supervisor import State, Supervisor
from alto_streams.log.wanted_topics import topics_of
from alto_streams.parts import redacted
from alto_streams.settings import Settings
from alto_streams.worker.tcp_ports import check_free, free_ports

HOST = "127.0.0.1"


def prepared(
    config: Settings,
    *,
    target: str | None = None,
    gguf: Path | None = None,
    workers: int = 1,
    port: int | None = None,
    private: bool = False,
    create: bool = True,
    var: Path | None = None,
    redo: bool = False,
    durable: bool = False,
) -> Cluster:
    """The parts to start. Broker and Redis are started here unless ALTO_BROKER, ALTO_REDIS say where they are.

    `target`: the engine of every model, as in ALTO_MODELS. `gguf`: the local engine's weights. `private`: on free
    ports, so that it runs beside another. `create`: make the topics that are missing. `var`: instead of ALTO_VAR.
    `redo`: broken calls begin anew also where an engine that is away now might be able to continue them. `durable`: the
    broker that is started here is Apache Kafka.

    The servers of models are asked what they can do; whoever is away, or cannot continue, is told on standard error.
    """
    given = config.model_fields_set
    own_broker, own_redis = "broker" not in given, "redis" not in given
    _check_durable(config, durable, own_broker)
    pipelines = load_pipelines(config.pipelines)
    changes: dict[str, object] = {"host": HOST}
    if own_broker:
        changes["broker"] = f"kafka://{HOST}:{_port(9092, private)}"
    if own_redis:
        changes["redis"] = f"redis://{HOST}:{_port(6379, private)}/0"
    if target is not None:
        models = {model for pipeline in pipelines.values() for model in pipeline.models()}
        changes["models"] = dict.fromkeys(models, target)
    if gguf is not None:
        changes["gguf"] = gguf
    if var is not None:
        changes["var"] = var
    if private or port is not None:
        changes["gateway_port"] = free_ports(1)[0] if private else port
    config = config.model_copy(update=changes)
    found = probe(config, pipelines.values())
    for line in found.lines(redoes=redo):
        print(f"note: {line}", file=sys.stderr)
    again = [*found.redo.values(), *(found.unknown.values() if redo else ())]
    config = config.model_copy(update={"redo": [*config.redo, *(stage for stages in again for stage in stages)]})
    return local_cluster(
        config,
        pipelines,
        topics_of(config.topics_file, pipelines.values()),
        own_broker=own_broker,
        own_redis=own_redis,
        workers=workers,
        create=create,
        durable=durable,
    )


def _check_durable(config: Settings, durable: bool, own_broker: bool) -> None:
    if durable and not own_broker:
        raise ConfigError(
            f"--kafka: ALTO_BROKER names a broker already ({redacted(config.broker)}); leave one of them out"
        )
    if durable and not kafka.is_fetched():
        print("note: Maven fetches Apache Kafka's jars, once ...", file=sys.stderr, flush=True)


@asynccontextmanager
async def running(cluster: Cluster, logs: Path, out: TextIO | None = None) -> AsyncIterator[Supervisor]:
    """The system while it is up; stops all of it on the way out.

    Raises:
        PartFailed, ConfigError, PartDown: a part did not start; nothing is left running then.
    """
    said = Progress(len(cluster.parts), out or sys.stderr)
    try:
        async with Supervisor(cluster.parts, logs, said) as supervisor:
            said.up()
            try:
                yield supervisor
            finally:
                said.stopping()
    finally:
        said.stopped()


class Progress:
    """One line for each part that is ready, died or came back; nothing for parts that stop as they should."""

    def __init__(self, parts: int, out: TextIO) -> None:
        self._parts, self._out = parts, out
        self._ready: set[str] = set()
        self._began = time.monotonic()
        self._is_stopping = False
        self._line(f"starting {parts} parts on this machine ...")

    def __call__(self, name: str, state: State, seconds: float) -> None:
        """What the supervisor tells."""
        if state is State.READY and name in self._ready:
            self._line(f"{name} is back after {seconds:.1f} s")
        elif state is State.READY:
            self._ready.add(name)
            self._line(f"[{len(self._ready):>{len(str(self._parts))}}/{self._parts}] {name} is ready ({seconds:.1f} s)")
        elif state is State.DIED and not self._is_stopping:
            self._line(f"{name} died; starting it again")

    def up(self) -> None:
        """All parts are ready."""
        self._line(f"all up after {time.monotonic() - self._began:.1f} s")
        self._line("")

    def stopping(self) -> None:
        """The command is over."""
        self._is_stopping = True
        self._line("stopping ...")

    def stopped(self) -> None:
        """Nothing runs any more."""
        self._line("stopped")

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _port(usual: int, private: bool) -> int:
    """The usual port, or a free one where that is taken: nobody but this system needs to know it."""
    if not private:
        try:
            check_free("", HOST, usual, "")
        except PortInUse:
            pass
        else:
            return usual
    return free_ports(1)[0]
