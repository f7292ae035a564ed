"""`alto-streams up`: the whole system on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from alto_streams.cli import options
from alto_streams.cli.brought import Brought, Owned, bringing
from alto_streams.define.options import Folder

if TYPE_CHECKING:
    from alto_streams.local.cluster import Cluster


def register(app: typer.Typer, owned: list[Owned]) -> None:
    """Adds the command."""
    app.command(help="Start everything on this machine and keep it running until Ctrl-C.")(bringing(up, owned, Folder))


def up(
    engine: options.Engine = None,
    script: options.Script = None,
    gguf: options.Gguf = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the gateway. Default: 8600.")] = None,
    workers: options.Workers = 1,
    app: options.Apps = None,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create the topics that are missing, or refuse to start.")
    ] = True,
    redo: Annotated[
        bool,
        typer.Option(
            "--redo",
            help="Begin broken calls anew, as is done for engines that cannot continue, of absent engines too.",
        ),
    ] = False,
    kafka: Annotated[
        bool,
        typer.Option(
            "--kafka", help="Keep the log: run Apache Kafka (Java 17, its jars by Maven) with its data in var."
        ),
    ] = False,
    *,
    brought: Brought,
) -> None:
    """Uses the broker and Redis of ALTO_BROKER and ALTO_REDIS where these are set, else starts its own."""
    from alto_streams.cli.system import prepared
    from alto_streams.local.system_file import refuse_used
    from alto_streams.settings import settings
    from alto_streams.worker.tcp_ports import check_free

    options.choose_apps(app)
    brought.place()
    target = options.engine_target(engine, script)
    config = settings()
    refuse_used(config.var)
    # Before anything is started: the gateway is the last of the parts.
    check_free("The gateway", "127.0.0.1", port or config.gateway_port, "--port (or ALTO_GATEWAY_PORT)")
    cluster = prepared(
        config, target=target, gguf=gguf, workers=workers, port=port, create=create, redo=redo, durable=kafka
    )
    asyncio.run(_up(cluster))


async def _up(cluster: Cluster) -> None:
    from alto_streams.local.signals import Interrupted, ends_on_signals
    from alto_streams.local.system_file import described, kept

    try:
        with kept(described(cluster)) as left:
            if left is not None:
                typer.echo(f"{left.path} was left by an `up` that was killed (process {left.pid}); it is written anew")
            async with ends_on_signals():
                await _serve(cluster)
    except Interrupted:
        return  # the way to end it


async def _serve(cluster: Cluster) -> None:
    from alto_streams.cli.engine_notes import tell_engines
    from alto_streams.cli.example import ask_line
    from alto_streams.cli.system import running
    from alto_streams.local.footprint import telling_use
    from alto_streams.parts import redacted

    config, is_usual = cluster.settings, cluster.gateway == "http://127.0.0.1:8600"
    async with running(cluster, config.var / "logs") as supervisor:
        for name, pipeline in cluster.pipelines.items():
            typer.echo(f"serves   {name}: {', '.join(pipeline.stages)}")
        typer.echo(f"gateway  {cluster.gateway}  (API description: {cluster.gateway}/docs)")
        typer.echo(f"broker   {redacted(config.broker)}")
        typer.echo(f"redis    {redacted(config.redis)}")
        typer.echo(f"keeps    {cluster.keeps}")
        typer.echo(f"logs     {(config.var / 'logs').resolve()}")
        first, *others = cluster.pipelines.values()
        line = ask_line(first, None if is_usual else cluster.gateway, is_only=not others)
        typer.echo(f"\nNow, in another terminal:\n  {line}\n")
        typer.echo("Ctrl-C stops everything.")
        notes = asyncio.create_task(tell_engines(cluster.gateway, typer.echo))
        try:
            async with telling_use(typer.echo):
                await supervisor.wait()
        finally:
            notes.cancel()
            await asyncio.gather(notes, return_exceptions=True)
