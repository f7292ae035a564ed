"""`alto-streams up`: the whole system on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from alto_streams.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(help="Start everything on this machine and keep it running until Ctrl-C.")(up)


def up(
    engine: options.Engine = None,
    script: options.Script = None,
    gguf: options.Gguf = None,
    corpus: options.Corpus = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the gateway. Default: 8600.")] = None,
    workers: options.Workers = 1,
    app: options.Apps = None,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create the topics that are missing, or refuse to start.")
    ] = True,
) -> None:
    """Uses the broker and Redis of ALTO_BROKER and ALTO_REDIS where these are set, else starts its own."""
    from alto_streams.cli.system import prepared
    from alto_streams.settings import settings
    from alto_streams.worker.tcp_ports import check_free

    options.choose_apps(app)
    target, folder = options.engine_target(engine, script), options.corpus_folder(corpus)
    config = settings()
    # Before anything is started: the gateway is the last of the parts.
    check_free("The gateway", "127.0.0.1", port or config.gateway_port, "--port (or ALTO_GATEWAY_PORT)")
    cluster = prepared(config, target=target, gguf=gguf, corpus=folder, workers=workers, port=port, create=create)
    asyncio.run(_up(cluster))


async def _up(cluster: object) -> None:
    from alto_streams.cli.example import ask_line
    from alto_streams.cli.system import running
    from alto_streams.local.cluster import Cluster
    from alto_streams.local.signals import Interrupted, ends_on_signals
    from alto_streams.parts import redacted

    assert isinstance(cluster, Cluster)  # noqa: S101  imported late
    is_usual = cluster.gateway == "http://127.0.0.1:8600"
    try:
        async with ends_on_signals(), running(cluster, cluster.settings.var / "logs") as supervisor:
            for name, pipeline in cluster.pipelines.items():
                typer.echo(f"serves   {name}: {', '.join(pipeline.stages)}")
            typer.echo(f"gateway  {cluster.gateway}  (API description: {cluster.gateway}/docs)")
            typer.echo(f"broker   {redacted(cluster.settings.broker)}")
            typer.echo(f"redis    {redacted(cluster.settings.redis)}")
            typer.echo(f"logs     {(cluster.settings.var / 'logs').resolve()}")
            first = ask_line(next(iter(cluster.pipelines.values())), None if is_usual else cluster.gateway)
            typer.echo(f"\nNow, in another terminal:\n  {first}\n")
            typer.echo("Ctrl-C stops everything.")
            await supervisor.wait()
    except Interrupted:
        return  # the way to end it
