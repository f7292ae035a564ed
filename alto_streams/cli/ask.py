"""`alto-streams ask`: one request, streamed in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

import msgspec
import typer

from alto_streams.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(help="Ask a running system one question, and watch the answer and its verdicts stream.")(ask)


def ask(
    question: Annotated[str, typer.Argument(help="The question; or the input's fields, as a JSON object.")],
    pipeline: options.PipelineName = "factcheck",
    mode: options.ModeChoice = options.Mode.STREAM,
    gateway: options.Gateways = None,
    deadline: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="End the request after this.")
    ] = None,
    stop_at_first_false: options.StopAtFirstFalse = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one event a line, as JSON.")] = False,
) -> None:
    """Ctrl-C cancels the request. Exits with 1 if the request did not end well."""
    given = input_of(question) | options.early_end(pipeline, stop_at_first_false)
    asyncio.run(_ask(given, pipeline, mode, options.gateways(gateway), deadline, as_json))


def input_of(question: str) -> dict[str, Any]:
    """What a request's input is: the fields of a JSON object, or the text as the `prompt`."""
    if question.lstrip().startswith("{"):
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(question, type=dict[str, Any])
    return {"prompt": question}


async def _ask(
    given: dict[str, Any], pipeline: str, mode: options.Mode, gateways: list[str], deadline: float | None, as_json: bool
) -> None:
    from alto_streams.cli.asking import Asked
    from alto_streams.cli.asking import ask as follow
    from alto_streams.cli.screens import screen_for
    from alto_streams.client import Client
    from alto_streams.errors import CommandFailed
    from alto_streams.local.signals import ends_on_signals

    asked = Asked(pipeline, given, mode, deadline)
    async with ends_on_signals(), Client(gateways, give_up_s=options.GIVE_UP_S) as client:
        with screen_for(pipeline, as_json) as screen:
            transcript = await follow(client, asked, screen)
            screen.end(transcript)
    if transcript.status != "ok":
        raise CommandFailed(f"the request ended {transcript.status}: {transcript.cause or 'no cause was given'}")
