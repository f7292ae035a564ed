"""`alto-streams demo`: everything on this machine, one question, and all of it away again."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from alto_streams.cli import options
from alto_streams.cli.brought import Brought, Owned, bringing
from alto_streams.define.options import Folder

USAGE = "Start everything on this machine, ask one question, show what streams, and stop everything."


def register(app: typer.Typer, owned: list[Owned]) -> None:
    """Adds the command."""
    app.command(help=USAGE)(bringing(demo, owned, Folder))


def demo(
    question: Annotated[str | None, typer.Option(help="Another question than the built-in one.")] = None,
    mode: options.ModeChoice = options.Mode.STREAM,
    engine: options.Engine = None,
    script: options.Script = None,
    gguf: options.Gguf = None,
    *,
    brought: Brought,
) -> None:
    """Exits with 1 if the request did not end well."""
    brought.place()
    asyncio.run(_demo(question, mode, options.engine_target(engine, script), gguf))


async def _demo(question: str | None, mode: options.Mode, target: str | None, gguf: Path | None) -> None:
    from alto_streams.cli.asking import Asked, ask
    from alto_streams.cli.screens import screen_for
    from alto_streams.cli.system import prepared, running
    from alto_streams.client import Client
    from alto_streams.errors import CommandFailed
    from alto_streams.local.signals import ends_on_signals
    from alto_streams.pipelines.factcheck import pipeline
    from alto_streams.pipelines.factcheck.prompts import DEMO_QUESTION
    from alto_streams.settings import settings

    asked = Asked(pipeline.name, {"prompt": question or DEMO_QUESTION}, mode)
    with tempfile.TemporaryDirectory(prefix="alto-demo-", ignore_cleanup_errors=True) as folder:
        cluster = prepared(settings(), target=target, gguf=gguf, private=True, var=Path(folder))
        # The part that fails says where its log is, and shows its end: the folder itself need not outlive the demo.
        async with ends_on_signals(), running(cluster, Path(folder), sys.stdout):
            print(f"Question ({mode}): {asked.input['prompt']}", flush=True)
            async with Client([cluster.gateway]) as client:
                with screen_for(pipeline.view) as screen:
                    transcript = await ask(client, asked, screen)
                    screen.end(transcript)
            print(flush=True)
    if transcript.status != "ok":
        raise CommandFailed(f"the request ended {transcript.status}: {transcript.cause or 'no cause was given'}")
