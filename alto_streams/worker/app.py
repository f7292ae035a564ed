"""The Faust app of a worker, with the settings that our transport and our rows stand on.

`faust -A module worker` starts it like any other app; the transport, the fence and the direct sender come with it.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import shutil
import socket
import weakref
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import faust
from faust.sensors.prometheus import setup_prometheus_sensors
from faust.types import TP
from prometheus_client import CollectorRegistry

from alto_streams.errors import ConfigError
from alto_streams.log.fence import Fence
from alto_streams.log.sender import Sender
from alto_streams.log.transport import Transport
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.worker.tcp_ports import check_free, free_ports
from alto_streams.worker.watch import Watch

# Their DEBUG records are built for every record on the hot path, whatever the level of the root logger.
HOT_LOGGERS = ("faust.topics", "faust.tables.recovery", "aiokafka.producer", "aiokafka.conn", "aiokafka.consumer")
# What they say at INFO is about themselves.
TALKATIVE = ("faust", "mode", "aiokafka", "aiohttp.access", "httpx")
SETTLE_S = 10.0  # of a stop or a rebalance: longer than a pause of the broker, shorter than a supervisor's patience

log = logging.getLogger(__name__)


class Beside(Protocol):
    """What a worker needs before it joins its group, and as long as it runs."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class App(faust.App):  # type: ignore[misc]
    """A Faust app over our transport. `sender` sends records; `fence` says whether this worker may.

    `watch` ends the process once it has stalled.
    """

    logger = logging.getLogger("faust.app")

    def __init__(self, app_id: str, config: Settings, **options: Any) -> None:
        self.fetch_max_wait_ms, self.producer_ids = config.fetch_max_wait_ms, config.producer_ids
        self.fence = Fence(app_id, config.session_timeout_s)
        self._holding: dict[str, tuple[Callable[[int], int | None], Callable[[], Awaitable[None]]]] = {}
        self.fed: set[str] = set()
        self._beside: list[Beside] = []
        # A silent engine is given up after `silence_s`, and that counts as progress: it must come first.
        patience_s = max(config.watchdog_s, 2 * config.silence_s) if config.watchdog_s else 0.0
        self.watch = Watch(self, app_id, config.broker, patience_s)
        super().__init__(app_id, **options)

    @property
    def sender(self) -> Sender:
        """Sends straight through the idempotent producer, once the app has started."""
        return cast(Sender, self.producer.sender)

    def feed(self, topics: Sequence[str], work: Callable[[], Awaitable[None]]) -> None:
        """Subscribes to topics whose records `work` takes itself (`consumer.feeding`); it runs as long as the worker.

        What it raises ends the worker, which would otherwise keep its partitions and do nothing for them.
        """
        self.fed.update(topics)

        async def agent(_: Any) -> None:  # Faust subscribes to what its stream is of, and nothing flows through that
            try:
                await work()
            except Exception as error:
                await self.crash(error)

        source = self.topic(*topics, key_serializer="raw", value_serializer="raw")
        self.agent(source, name=f"{self.conf.id}.{topics[0]}")(agent)

    def beside(self, part: Beside) -> None:
        """Runs beside the worker: starts before it joins its group, and stops when all its work has."""
        self._beside.append(part)

    def hold(self, topic: str, held: Callable[[int], int | None], settle: Callable[[], Awaitable[None]]) -> None:
        """Offsets of `topic` wait for more than that their records are finished."""
        self._holding[topic] = held, settle

    def held(self, tp: TP) -> int | None:
        """The lowest offset of the partition that may not be committed yet, whatever is finished."""
        holding = self._holding.get(tp.topic)
        return None if holding is None else holding[0](tp.partition)

    async def settle(self) -> None:
        """Does what committing waits for, as far as it can be done within `SETTLE_S`: the broker may be away."""
        try:
            async with asyncio.timeout(SETTLE_S):
                for _, settle in self._holding.values():
                    await settle()
        except TimeoutError:
            held = {tp: self.held(tp) for tp in sorted(self.consumer.sources())}
            left = [f"{tp.topic}-{tp.partition} from {at}" for tp, at in held.items() if at is not None]
            log.warning(
                "%s: rows were not stored within %.0f s; given up, for the next owner to work on again: %s",
                *(self.conf.id, SETTLE_S, ", ".join(left) or "nothing"),
            )

    async def on_start(self) -> None:
        """Watches over the start as well: a worker may stall before it has begun."""
        await super().on_start()
        self.watch.start()
        for part in self._beside:
            await part.start()

    async def on_stop(self) -> None:
        """A worker that stops makes no progress, and that is all right."""
        await self.watch.stop()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Nothing works any more that could need them."""
        for part in self._beside:
            await part.stop()
        await super().on_shutdown()

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)


def new_app(
    app_id: str,
    settings: Settings,
    *,
    max_poll_records: int = 500,
    in_flight: int = 500,
    wait_empty: bool = True,
    longest_call_s: float = 300.0,
    registry: CollectorRegistry | None = None,
    **options: Any,
) -> App:
    """A Faust app for one stage or one model.

    `in_flight`: how many records are worked on at once; twice as many are buffered. `wait_empty`: whether a rebalance
    waits for what was begun (table stages yes, LM workers no: else every rebalance waits for every call).
    `longest_call_s`: past it Faust warns of a stuck stream. `options` go to `faust.App` and win (`PartitionAssignor=`,
    `table_standby_replicas=`). `/metrics` on the worker's port shows `registry`, by default one of its own.

    Raises:
        ConfigError: the worker's port is in use.
    """
    quiet_loggers()
    chosen = {
        **faust_options(app_id, settings),
        "broker_max_poll_records": max_poll_records,
        "stream_buffer_maxsize": 2 * in_flight,
        "stream_wait_empty": wait_empty,
        "stream_processing_timeout": longest_call_s,
        **options,
    }
    app = App(app_id, settings, **chosen)
    setup_prometheus_sensors(app, pattern="/metrics", registry=registry or CollectorRegistry(), name_prefix="alto")
    if settings.group_instance_id is None:
        weakref.finalize(app, shutil.rmtree, chosen["datadir"], ignore_errors=True)
    return app


def faust_options(app_id: str, settings: Settings) -> dict[str, Any]:
    """The settings of Faust's own that hold for every worker. Raises `ConfigError`: the worker's port is in use."""
    host, instance = settings.host, settings.group_instance_id
    port = _usable_port(host, settings.worker_port)
    return {
        "broker": [f"kafka://{server}" for server in bootstrap_servers(settings.broker)],
        "broker_client_id": app_id,
        "broker_commit_interval": 1.0,
        "broker_heartbeat_interval": settings.heartbeat_s,
        "broker_session_timeout": settings.session_timeout_s,
        "broker_max_poll_interval": 1800.0,
        "broker_request_timeout": max(30.0, settings.session_timeout_s + 5.0),
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": None if instance is None else f"{app_id}.{instance}",
        "producer_linger": 0.0,
        "producer_max_batch_size": 131_072,
        "producer_request_timeout": 15.0,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "stream_recovery_delay": 0.0,
        "table_standby_replicas": 1,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "store": "memory://",
        "datadir": _data_dir(settings.var, app_id, instance, port),
        "web_host": host,
        "web_bind": host,
        "web_port": port,
        "canonical_url": f"http://{_own_name(host)}:{port}",
        "logging_config": log_config(),
        "worker_redirect_stdouts": False,
    }


def use_fast_loop() -> None:
    """Gives this thread uvloop's event loop, where that is installed; to be called before Faust asks for one."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return
    asyncio.set_event_loop(uvloop.new_event_loop())


def quiet_loggers() -> None:
    """Sets the levels that keep the hot path free of log records and the log free of talk."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in HOT_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    App.logger.addFilter(without_traceback)


def without_traceback(record: logging.LogRecord) -> bool:
    """Leaves of a crash by a `ConfigError` its text, which says what to do: where it was found is of no use."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ConfigError):
        record.msg, record.args, record.exc_info = str(error), (), None
    return True


def log_config() -> dict[str, Any]:
    """One line a record on standard error: time, level, logger, text."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {name: {"level": "WARNING"} for name in (*TALKATIVE, *HOT_LOGGERS)},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }


def _usable_port(host: str, port: int) -> int:
    """Assignments are keyed by the worker's URL, so the port must be known before the app is made."""
    if not port:
        return free_ports(1, host)[0]
    check_free("The worker", host, port, "ALTO_WORKER_PORT")
    return port


def _own_name(host: str) -> str:
    # Assignments are keyed by the worker's URL: workers that listen on all addresses of their hosts must not share one.
    return socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104


def _data_dir(var: Path, app_id: str, instance: str | None, port: int) -> Path:
    # Rows live in memory, so nothing in it outlives the worker but what Faust puts there by itself.
    folder = var / "workers" / f"{app_id}-{instance or port}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"ALTO_VAR={var}: cannot be written in {Path.cwd()} ({error.strerror}); set ALTO_VAR to a folder that can"
        ) from None
    return folder
