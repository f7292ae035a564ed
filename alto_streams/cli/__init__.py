"""`alto-streams`: one module per group of commands.

Each command imports what it needs when it runs: a worker process should not wait for what only the demo shows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

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
    requests,
    run,
    scheduler,
    story,
    topics,
    up,
    worker,
)
from alto_streams.cli.brought import owned_options
from alto_streams.cli.errors import explained
from alto_streams.cli.groups import group, help_where_bare

PROGRAM = "alto-streams"
HELP = "Serves pipelines of language models by streaming partial outputs between their stages over Kafka."
BRINGING = {"demo": demo, "up": up, "ask": ask, "run": run}  # they take options that pipelines bring
PLAIN = (record, replay, diff, story, cancel, worker, gateway)
GROUPS = {
    "requests": requests,
    "topics": topics,
    "dead-letters": dead_letters,
    "scheduler": scheduler,
    "engines": engines,
}


def _version(wanted: bool) -> None:
    if wanted:
        from alto_streams import __version__

        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    help_where_bare(context)


def application(arguments: Sequence[str] = ()) -> typer.Typer:
    """The commands, of which these arguments run one: a command that takes options of pipelines has them.

    Raises:
        ConfigError, PipelineError: it takes such options, and ALTO_PIPELINES or `--app` names a wrong pipeline.
    """
    app = group(HELP, PROGRAM, completion=True)
    app.callback()(_options)
    owned = owned_options(arguments) if next(iter(arguments), None) in BRINGING else []
    for bringing in BRINGING.values():
        bringing.register(app, owned)
    for command in PLAIN:
        command.register(app)
    for name, commands in GROUPS.items():
        app.add_typer(commands.app, name=name)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 failed, 2 wrong usage or setting, 130 interrupted."""
    checks.say_unknown()  # here, and not in each worker that is forked
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: Sequence[str]) -> int:
    """The same, with the exit code returned. Errors are one line on standard error, never a traceback."""
    if os.getcwd() not in sys.path:  # a pipeline of one's own stands where the command is run, as with Faust's -A
        sys.path.insert(0, os.getcwd())
    try:
        command = typer.main.get_command(application(arguments))
        before.each(command)
        code = command.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except Exception as error:
        said = explained(error)
        if said is None:
            raise
        print(f"{PROGRAM}: {said.text}", file=sys.stderr)
        return said.code
    return code if isinstance(code, int) else 0
