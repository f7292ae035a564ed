"""What a command says when it fails, and with which exit code."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from alto_streams.errors import CommandFailed

FAILED, WRONG, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True, slots=True)
class Explanation:
    """One line for the user, and the exit code."""

    text: str
    code: int


def explained(error: Exception) -> Explanation | None:
    """None for an error that nobody foresaw: its traceback is what is needed then."""
    # Imported here: most commands never fail, and a worker need not load the client.
    from alto_streams.errors import ConfigError, EventsLost, PartFailed, PipelineError, ProblemError, Retryable
    from alto_streams.local.signals import Interrupted

    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path.partition(" ")[2] if context is not None else ""
        text = error.format_message() or "no command given"
        help_ = f"see `{context.command_path} --help`" if context is not None else "see `alto-streams --help`"
        return Explanation(f"{command + ': ' if command else ''}{text.rstrip('.')}; {help_}", WRONG)
    if isinstance(error, ConfigError | PipelineError):
        return Explanation(str(error), WRONG)
    if isinstance(error, ProblemError):
        return Explanation(f"the gateway refused: {error}", WRONG if 400 <= error.status < 500 else FAILED)
    if isinstance(error, Interrupted):
        return Explanation(f"stopped ({error})", INTERRUPTED)
    if isinstance(error, Retryable | PartFailed | EventsLost | CommandFailed):
        return Explanation(str(error), FAILED)
    if isinstance(error, typer.Abort):
        return Explanation("stopped", INTERRUPTED)
    return None
