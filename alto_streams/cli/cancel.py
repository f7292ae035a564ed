"""`alto-streams cancel`: ends a request, or one item of it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from alto_streams.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        help="End a request; or, with STAGE and PATH as its events name them, one item and what derives from it."
    )(cancel)


def cancel(
    request: Annotated[str, typer.Argument(metavar="ID", help="The request's id.")],
    stage: Annotated[str | None, typer.Argument(help="The stage of the item.")] = None,
    path: Annotated[str | None, typer.Argument(help="The path of the item, such as 0/1.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="The request's pipeline; needed only if Redis lost it.")] = None,
    gateway: options.Gateways = None,
) -> None:
    """Exits once the end has been asked for; the request's last event, or the item's `close`, tells how it ended."""
    if stage is not None and path is None:
        raise typer.BadParameter(f"an item of {stage} needs its path as well")
    asyncio.run(_cancel(request, pipeline, stage or "", path or "", options.gateways(gateway)))


async def _cancel(request: str, pipeline: str | None, stage: str, path: str, gateways: list[str]) -> None:
    from alto_streams.client import Client

    async with Client(gateways, give_up_s=options.GIVE_UP_S) as client:
        await client.cancel(request, pipeline, stage, path)
    typer.echo(f"cancelling {stage} {path} of {request}" if stage else f"cancelling {request}")
    typer.echo(f"how it ended: alto-streams requests show {request}", err=True)
