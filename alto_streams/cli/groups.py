"""Commands in groups: a group that is called without a command prints its help, as other tools do."""

from __future__ import annotations

import typer

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}  # commands below take these over


def group(help: str, name: str | None = None, *, completion: bool = False) -> typer.Typer:
    """A group without commands yet. Called bare it writes its help to standard output, and exits with 0."""
    made = typer.Typer(
        name=name,
        help=help,
        add_completion=completion,
        context_settings=HELP_OPTIONS,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    made.callback()(help_where_bare)
    return made


def help_where_bare(context: typer.Context) -> None:
    """What a group does before its command: nothing, unless there is none."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
