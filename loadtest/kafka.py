"""Real Apache Kafka as a server that can be stopped, killed and started again: one small node on free ports."""

from __future__ import annotations

import shutil
from pathlib import Path

from alto_streams.errors import ConfigError
from alto_streams.local import kafka as node
from alto_streams.local import ping
from alto_streams.worker.tcp_ports import free_ports
from loadtest.servers import HOST, Server

ROOT = Path(__file__).resolve().parents[1]
kafka_version = node.version


class Unavailable(Exception):
    """This machine cannot run the broker: says what is missing."""


class Kafka(Server):
    """One node of Apache Kafka in KRaft mode, broker and controller in one process, small and quick."""

    scheme = "kafka"

    def __init__(self, folder: Path, *, steady: bool = False) -> None:
        """`steady`: compiled as in production, which takes a minute of load; else it starts fast and stays slow."""
        kafka_jars()
        self._steady = steady
        super().__init__("kafka", folder)
        self._properties = node.prepare(folder, self.port, free_ports(1)[0])

    def command(self) -> list[str]:
        return node.command(self._properties, heap="1g" if self._steady else "512m", steady=self._steady)

    def ready(self) -> bool:
        return ping.kafka_answers(HOST, self.port)


def kafka_jars() -> Path:
    """The folder with Apache Kafka's jars; fetched by Maven the first time.

    Raises:
        Unavailable: Java 17 or Maven is missing, or Maven cannot fetch them.
    """
    if shutil.which("java") is None:
        raise Unavailable("no `java` on the PATH (Java 17 or newer runs Apache Kafka)")
    try:
        return node.jars()
    except ConfigError as missing:
        raise Unavailable(str(missing)) from None
