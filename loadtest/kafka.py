"""Real Apache Kafka without a container: its jars from Maven, once, and one small node in KRaft mode on free ports."""

from __future__ import annotations

import base64
import fcntl
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path

from alto_streams.local import ping
from alto_streams.worker.tcp_ports import free_ports
from loadtest.servers import HOST, Server

ROOT = Path(__file__).resolve().parents[1]
POM = ROOT / "tests" / "broker" / "kafka" / "pom.xml"
FETCH_S = 600.0


class Unavailable(Exception):
    """This machine cannot run the broker: says what is missing."""


class Kafka(Server):
    """One node of Apache Kafka in KRaft mode, broker and controller in one process, small and quick."""

    scheme = "kafka"

    def __init__(self, folder: Path, *, steady: bool = False) -> None:
        """`steady`: compiled as in production, which takes a minute of load; else it starts fast and stays slow."""
        self.jars, self._steady = kafka_jars(), steady
        super().__init__("kafka", folder)
        self._controller = free_ports(1)[0]
        self._properties = folder / "server.properties"
        self._properties.write_text(self._settings())
        # 16 bytes of which the first are letters: an id that begins with a dash would be read as an option.
        cluster = base64.urlsafe_b64encode(b"alto" + uuid.uuid4().bytes[:12]).decode().rstrip("=")
        done = subprocess.run(
            [*self._java("-Xmx128m"), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage cannot be formatted: {done.stderr.strip()[-500:]}")

    def command(self) -> list[str]:
        return [*self._java("-Xmx1g" if self._steady else "-Xmx512m"), "kafka.Kafka", str(self._properties)]

    def ready(self) -> bool:
        return ping.kafka_answers(HOST, self.port)

    def _java(self, heap: str) -> list[str]:
        # Serial collection, and mostly the first compiler tier alone: the broker shares two cores with what it serves.
        tiers = [] if self._steady else ["-XX:TieredStopAtLevel=1"]
        options = ["-XX:+UseSerialGC", *tiers, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return ["java", "-Xms64m", heap, *options, "-cp", f"{self.jars}/*"]

    def _settings(self) -> str:
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self._controller}",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self._controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.folder / "logs"),
            "auto.create.topics.enable": "false",
            # a killed broker may register anew once its old session has ended
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "2",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items())


def kafka_version() -> str:
    """The version of Apache Kafka that is fetched, e.g. "4.1.1"."""
    (version,) = re.findall(r"<kafka.version>(.+)</kafka.version>", POM.read_text())
    return str(version)


def kafka_jars() -> Path:
    """The folder with Apache Kafka's jars; fetched by Maven the first time, by one process while others wait.

    Raises:
        Unavailable: Java 17 or Maven is missing, or Maven cannot fetch them.
    """
    if shutil.which("java") is None:
        raise Unavailable("no `java` on the PATH (Java 17 or newer runs Apache Kafka)")
    if given := os.environ.get("ALTO_KAFKA_JARS"):
        if not list(Path(given).glob("kafka_2.13-*.jar")):
            raise Unavailable(f"ALTO_KAFKA_JARS={given} holds no kafka_2.13 jar")
        return Path(given)
    folder = ROOT / ".cache" / f"kafka-{kafka_version()}"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no `mvn` on the PATH (Maven fetches Apache Kafka's jars), and ALTO_KAFKA_JARS is not set")
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
    try:
        done = subprocess.run(
            [maven, "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True, timeout=FETCH_S
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"Maven did not fetch Apache Kafka's jars within {FETCH_S:.0f} s") from None
    if done.returncode != 0:
        raise Unavailable(f"Maven could not fetch Apache Kafka's jars: {(done.stdout + done.stderr).strip()[-500:]}")
    part.rename(folder)  # whole or not at all
