"""What happens before any command does its work: its settings are checked, and the system it talks to is found."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

ALONE = {"demo", "up", "worker", "gateway", "diff", "import-trace", "engines"}  # they talk to no system, or are one
MAY_START = {"run"}  # a system of its own, where none is running


def each(command: Any) -> None:
    """Sees to it for every command below this one."""
    _below(command, ())


def _below(command: Any, names: tuple[str, ...]) -> None:
    inside: dict[str, Any] | None = getattr(command, "commands", None)
    if inside is not None:
        for name, inner in inside.items():
            _below(inner, (*names, name))
    elif command.callback is not None and names:
        command.callback = _preceded(names[0], command.callback)


def _preceded(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(work)
    def command(**given: Any) -> Any:
        from alto_streams.cli.checks import check_settings

        check_settings()
        if name not in ALONE and not given.get("simulate"):
            from alto_streams.cli.finding import attach

            attach(given.get("gateway") or [], gateway_only=name in MAY_START)
        return work(**given)

    return command
