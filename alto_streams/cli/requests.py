"""`alto-streams requests`: the requests that a running system knows, and what became of one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from alto_streams.cli import options
from alto_streams.cli.groups import group

app = group("List the requests that gateways have accepted, and show one: how it stands, and its result.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a request, one a line.")]
State = Annotated[
    str | None, typer.Option("--state", help="accepted, running, ok, failed, cancelled or shed.  [default: all]")
]


@app.command("list")
def list_(
    pipeline: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this pipeline.")] = None,
    state: State = None,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="At most so many.")] = 20,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Only those made before this one.")] = None,
    as_json: AsJson = False,
    gateway: options.Gateways = None,
) -> None:
    """List requests, newest first."""
    found, later = asyncio.run(_listed(options.gateways(gateway), pipeline, state, most, before))
    for each in found:
        typer.echo(msgspec.json.encode(each).decode() if as_json else line_of(each))
    if as_json:
        return
    if not found:
        typer.echo("no request is known", err=True)
        return
    typer.echo("\nalto-streams requests show ID: one with its result; alto-streams cancel ID: end one", err=True)
    if later is not None:
        typer.echo(f"there may be more: alto-streams requests list --before {later}", err=True)


@app.command()
def show(
    request: Annotated[str, typer.Argument(metavar="ID", help="The request's id.")],
    gateway: options.Gateways = None,
) -> None:
    """Show how a request stands, and its result or what was known when it ended, as JSON."""
    found = asyncio.run(_shown(options.gateways(gateway), request))
    typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def line_of(found: dict[str, Any]) -> str:
    """`ID  state  pipeline  time  how long  cause`."""
    made = datetime.fromtimestamp(found["created_ms"] / 1000, UTC)
    done_ms = found.get("done_ms")
    took = "" if done_ms is None else f"{(done_ms - found['created_ms']) / 1000:.1f} s"
    words = [found["id"], f"{found['status']:<9}", str(found["pipeline"]), f"{made:%Y-%m-%d %H:%M:%S}Z", f"{took:>8}"]
    return "  ".join([*words, found.get("cause") or ""]).rstrip()


async def _listed(
    gateways: list[str], pipeline: str | None, state: str | None, most: int, before: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    from alto_streams.client import Client

    found: list[dict[str, Any]] = []
    async with Client(gateways, give_up_s=options.GIVE_UP_S) as client:
        while True:
            page = await client.requests(pipeline, state, before, min(500, most - len(found)))
            found += page["requests"]
            before = page["next"]
            if before is None or len(found) >= most:
                return found, before


async def _shown(gateways: list[str], request: str) -> dict[str, Any]:
    from alto_streams.client import Client

    async with Client(gateways, give_up_s=options.GIVE_UP_S) as client:
        return await client.get(request)
