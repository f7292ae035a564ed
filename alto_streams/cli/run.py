"""`alto-streams run`: every request of a file, through the running system or one that it starts."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alto_streams.cli import options
from alto_streams.cli.brought import Brought, Owned, bringing
from alto_streams.define.options import Flag, Folder

if TYPE_CHECKING:
    from alto_streams.cli.batch import Batch
    from alto_streams.cli.rows import Line, Row
    from alto_streams.local.cluster import Cluster

USAGE = (
    "Send every request of a JSONL file (an id and the fields of a request, or an id and an input) and write one JSON "
    "line for each (id, request, status, result, timings, and what the pipeline adds), in the order of the input. Uses "
    "the system at --gateway, else the one that answers at the default address, else one that it starts; --engine, "
    "--script, --workers-per-stage and a pipeline's own folders always start one."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and how. `pipeline`: None for the only one that is served."""

    pipeline: str | None
    mode: options.Mode
    at_once: int
    rate: float | None
    out: Path
    brought: Brought


def register(app: typer.Typer, owned: list[Owned]) -> None:
    """Adds the command."""
    app.command(help=USAGE)(bringing(run, owned, Flag, Folder))


def run(
    input_file: Annotated[Path, typer.Option("--input", metavar="FILE", help="JSON lines, each with an id.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the results go; replaced if it is there.")],
    pipeline: options.PipelineName = None,
    mode: options.ModeChoice = options.Mode.STREAM,
    engine: options.Engine = None,
    script: options.Script = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Requests a second, evenly spaced.")] = None,
    at_once: Annotated[int, typer.Option(min=1, max=512, help="Requests under way at once.")] = 8,
    workers: options.Workers = 1,
    gateway: options.Gateways = None,
    *,
    brought: Brought,
) -> None:
    """Exits with 1 if a request did not end well. Ctrl-C cancels what is under way and writes what is done."""
    from alto_streams.cli.rows import fitted, read_objects
    from alto_streams.cli.serving import own_form
    from alto_streams.cli.system import prepared
    from alto_streams.errors import CommandFailed, ConfigError
    from alto_streams.recordings.files import check_writable
    from alto_streams.settings import settings

    rows = read_objects(input_file)
    check_writable("--out", out)
    target = options.engine_target(engine, script)
    wants_own = brought.place() or target is not None or workers > 1
    if gateway and wants_own:
        raise ConfigError("--gateway: the system there has its own engine and workers; leave out the options for one")
    plan = Plan(pipeline, mode, at_once, rate, out, brought)
    addresses = options.gateways(gateway)
    if gateway or (not wants_own and _answers(addresses[0])):
        failed = asyncio.run(_through(addresses, rows, plan))
    else:
        fitted(rows, own_form(pipeline))  # before anything is started

        def begin(var: Path) -> Cluster:
            return prepared(settings(), target=target, workers=workers, private=True, var=var)

        failed = asyncio.run(_through_own(begin, rows, plan))
    if failed:
        raise CommandFailed(f"{failed} of {len(rows)} requests did not end well; {out} says why")


async def _through(gateways: list[str], lines: list[Line], plan: Plan) -> int:
    from alto_streams.local.signals import ends_on_signals

    async with ends_on_signals():
        return await _send(gateways, lines, plan)


async def _through_own(begin: Callable[[Path], Cluster], lines: list[Line], plan: Plan) -> int:
    from alto_streams.cli.system import running
    from alto_streams.local.signals import ends_on_signals

    with tempfile.TemporaryDirectory(prefix="alto-run-", ignore_cleanup_errors=True) as folder:
        cluster = begin(Path(folder))
        async with ends_on_signals(), running(cluster, Path(folder)) as supervisor:
            sending = asyncio.create_task(_send([cluster.gateway], lines, plan))
            broken = asyncio.create_task(supervisor.wait())
            try:
                await asyncio.wait({sending, broken}, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done():
                    broken.result()
                return await sending
            finally:
                broken.cancel()
                sending.cancel()
                await asyncio.gather(sending, broken, return_exceptions=True)


async def _send(gateways: list[str], lines: list[Line], plan: Plan) -> int:
    """Sends all, writes what there is in any case, and returns how many did not end well."""
    from alto_streams.cli.batch import Batch
    from alto_streams.cli.progress import progress
    from alto_streams.cli.rows import fitted
    from alto_streams.cli.serving import served_form, view_of
    from alto_streams.client import Client

    async with Client(gateways) as client:
        form = await served_form(client, plan.pipeline)
        name, more, (rows, left_out) = form.pipeline, plan.brought.fields(form.pipeline), fitted(lines, form)
        if left_out:
            typer.echo(f"left out, since requests of {name} have no such fields: {', '.join(left_out)}", err=True)
        with progress(len(rows)) as advance:
            batch = Batch(client, name, view_of(name), plan.mode, plan.at_once, plan.rate, advance, more)
            try:
                await batch.run(rows)
            except* Exception as group:
                raise group.exceptions[0] from None
            finally:
                _write(batch, rows, plan.out)
    return sum(outcome.status != "ok" for outcome in batch.outcomes.values())


def _write(batch: Batch, rows: list[Row], out: Path) -> None:
    beside = out.with_name(out.name + ".part")
    beside.write_bytes(b"".join(line + b"\n" for line in batch.lines(rows)))
    beside.replace(out)


def _answers(gateway: str) -> bool:
    from urllib.parse import urlsplit

    from alto_streams.local.ping import http_answers

    at = urlsplit(gateway)
    return http_answers(at.hostname or "127.0.0.1", at.port or 80, "/healthz")
