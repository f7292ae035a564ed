"""`alto-streams`: one module per group of commands.

Each command imports what it needs when it runs: a worker process should not wait for what only the demo shows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from alto_streams import __version__
from alto_streams.cli import (
    ask,
    before,
    cancel,
    checks,
    dead_letters,
    demo,
    diff,
    engines,
    gateway,
    record,
    replay,
    run,
    scheduler,
    topics,
    up,
    worker,
)
from alto_streams.cli.errors import explained

PROGRAM = "alto-streams"

app = typer.Typer(
    name=PROGRAM,
    help="Serves pipelines of language models by streaming partial outputs between their stages over Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for group in (demo, up, ask, run, record, replay, diff, cancel, worker, gateway):
    group.register(app)
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(scheduler.app, name="scheduler")
app.add_typer(engines.app, name="engines")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 failed, 2 wrong usage or setting, 130 interrupted."""
    checks.say_unknown()  # here, and not in each worker that is forked
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: Sequence[str]) -> int:
    """The same, with the exit code returned. Errors are one line on standard error, never a traceback."""
    command = typer.main.get_command(app)
    before.each(command)
    if os.getcwd() not in sys.path:  # a pipeline of one's own stands where the command is run, as with Faust's -A
        sys.path.insert(0, os.getcwd())
    try:
        code = command.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except Exception as error:
        said = explained(error)
        if said is None:
            raise
        print(f"{PROGRAM}: {said.text}", file=sys.stderr)
        return said.code
    return code if isinstance(code, int) else 0
