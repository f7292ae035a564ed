"""A gateway as a process, as production runs it, with the tests' pipeline. Its settings come from the environment."""

from __future__ import annotations

import logging
import signal
import sys

from alto_streams.gateway import create_gateway, server
from alto_streams.log.ingress import Ingress
from alto_streams.settings import settings
from tests.gateway.harness import PIPELINES


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    chosen = settings()
    for number in (signal.SIGTERM, signal.SIGINT):  # as the command does: a clean stop exits with 0
        signal.signal(number, lambda *_: sys.exit(0))
    server(create_gateway(chosen, PIPELINES, Ingress(chosen)), chosen).run()


if __name__ == "__main__":
    main()
