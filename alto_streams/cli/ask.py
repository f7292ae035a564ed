"""`alto-streams ask`: one request, streamed in the terminal."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from alto_streams.cli import options
from alto_streams.cli.brought import Brought, Owned, bringing
from alto_streams.define.options import Flag
from alto_streams.errors import ConfigError

if TYPE_CHECKING:
    from alto_streams.views.transcript import Transcript

MOST_PATHS = 3  # named, of the calls that failed alike
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask, of which pipeline, and how it is shown."""

    text: str
    pipeline: str | None
    mode: options.Mode
    deadline: float | None
    brought: Brought
    as_json: bool


def register(app: typer.Typer, owned: list[Owned]) -> None:
    """Adds the command."""
    app.command(help="Ask a running system one question, and watch what it writes stream.")(bringing(ask, owned, Flag))


def ask(
    question: Annotated[
        str, typer.Argument(help="The question; or the input's fields, as a JSON object; - reads standard input.")
    ],
    pipeline: options.PipelineName = None,
    mode: options.ModeChoice = options.Mode.STREAM,
    gateway: options.Gateways = None,
    deadline: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="End the request after this.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the request's id and then one event a line, as JSON.")
    ] = False,
    *,
    brought: Brought,
) -> None:
    """Ctrl-C cancels the request. Exits with 1 if the request did not end well, or a stage of it raised."""
    addresses = options.gateways(gateway)
    if pipeline is not None:
        brought.fields(pipeline)  # what it cannot do is refused before anything is asked
    asyncio.run(_ask(Wanted(text_of(question), pipeline, mode, deadline, brought, as_json), addresses))


def text_of(question: str) -> str:
    """The question itself; of `-`, what standard input has.

    Raises:
        ConfigError: there is nothing but white space.
    """
    text = sys.stdin.read() if question == STDIN else question
    if not text.strip():
        raise ConfigError(f"ask: {'standard input' if question == STDIN else 'the question'} is empty")
    return text.strip() if question == STDIN else text


async def _ask(wanted: Wanted, gateways: list[str]) -> None:
    from alto_streams.cli.asking import Asked
    from alto_streams.cli.asking import ask as follow
    from alto_streams.cli.screens import screen_for
    from alto_streams.cli.serving import served_form, view_of
    from alto_streams.client import Client
    from alto_streams.errors import CommandFailed
    from alto_streams.local.signals import ends_on_signals

    async with ends_on_signals(), Client(gateways, give_up_s=options.GIVE_UP_S) as client:
        form = await served_form(client, wanted.pipeline)
        given = form.input_of(wanted.text) | wanted.brought.fields(form.pipeline)
        asked = Asked(form.pipeline, given, wanted.mode, wanted.deadline)
        with screen_for(view_of(form.pipeline), wanted.as_json) as screen:
            transcript = await follow(client, asked, screen, cancel_with(gateways))
            screen.end(transcript)
    if said := failure(transcript):
        raise CommandFailed(said)


def failure(transcript: Transcript) -> str | None:
    """What failed, and how to see more; None if all went well."""
    said = []
    if transcript.status != "ok":
        said.append(f"the request ended {transcript.status}: {transcript.cause or 'no cause was given'}")
    calls: dict[tuple[str, str], list[str]] = {}
    for stage, path, error in transcript.raised:
        if path:  # else it is the request's own end, which is told already
            calls.setdefault((stage, error), []).append(path)
    for (stage, error), paths in calls.items():
        more = f" and {len(paths) - MOST_PATHS} more" if len(paths) > MOST_PATHS else ""
        said.append(f"{stage} raised {error} at {', '.join(paths[:MOST_PATHS])}{more}")
    if not said:
        return None
    see = f"alto-streams story {transcript.request}"
    if transcript.raised:
        see += f", or alto-streams dead-letters list --request {transcript.request} for file and line"
    return f"{'; '.join(said)}; to see more: {see}"


def cancel_with(gateways: list[str]) -> str:
    """The command that ends a request there, without its id."""
    elsewhere = "" if gateways == [options.default_gateway()] else f" --gateway {gateways[0]}"
    return f"alto-streams cancel{elsewhere}"
