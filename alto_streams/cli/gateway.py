"""`alto-streams gateway`: the HTTP API in front of the log."""

from __future__ import annotations

import logging.config
import signal
import sys
from typing import Annotated

import typer

from alto_streams.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(help="Serve the HTTP API; any number of gateways may run, on any machine.")(gateway)


def gateway(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: ALTO_GATEWAY_PORT, 8600.")] = None,
    host: Annotated[str | None, typer.Option(help="Default: ALTO_HOST, 127.0.0.1.")] = None,
    app: options.Apps = None,
) -> None:
    """Runs until SIGINT or SIGTERM."""
    from alto_streams.define.loading import load_pipelines
    from alto_streams.gateway import PipelineInfo, create_gateway, server
    from alto_streams.log.ingress import Ingress
    from alto_streams.settings import settings
    from alto_streams.worker.app import log_config, quiet_loggers
    from alto_streams.worker.tcp_ports import check_free

    options.choose_apps(app)
    config = settings()
    given = {"gateway_port": port, "host": host}
    config = config.model_copy(update={name: value for name, value in given.items() if value is not None})
    check_free("The gateway", config.host, config.gateway_port, "ALTO_GATEWAY_PORT (or --port)")
    logging.config.dictConfig(log_config())
    quiet_loggers()
    infos = {name: PipelineInfo.of(pipeline) for name, pipeline in load_pipelines(config.pipelines).items()}
    # The server raises the signal that ended it once more when it is done: a clean stop then exits with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    server(create_gateway(config, infos, Ingress(config)), config).run()
