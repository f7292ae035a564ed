"""Which running system a command talks to: the one that its settings say, or the one that `up` has on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from alto_streams.errors import ConfigError
from alto_streams.local.system_file import Left, RunningSystem, agrees, running_systems, system_in
from alto_streams.parts import redacted
from alto_streams.settings import Settings, settings

PARTS = ("broker", "redis", "gateway_port")


def attach(gateways: list[str], *, gateway_only: bool = False) -> None:
    """Makes the settings of this process those of the system that is meant, and says on standard error which it is.

    What is set (ALTO_BROKER and so on) or given (`gateways`) counts, and a system that agrees with it says the rest.
    Where nothing is running, the settings stay as they are. `gateway_only`: for a command that may start a system of
    its own, and then must not do so on another's broker.

    Raises:
        ConfigError: several systems are meant equally; names them, and what to set.
    """
    config = settings()
    system = _meant(config, gateways)
    if system is None:
        return
    where = f"gateway {system.gateway}, broker {redacted(system.broker)}"
    print(f"alto-streams: using the system of {_short(system.var)} ({where})", file=sys.stderr)
    values = {"host": system.host, "gateway_port": str(system.gateway_port), "pipelines": ",".join(system.pipelines)}
    if not gateway_only:
        values |= {"broker": system.broker, "redis": system.redis, "var": system.var}
        values |= {"topics_file": system.topics_file} if system.topics_file is not None else {}
    os.environ.update(
        {f"ALTO_{name.upper()}": value for name, value in values.items() if name not in config.model_fields_set}
    )
    if system.folder not in sys.path:
        sys.path.append(system.folder)  # its pipelines stand where it was started
    settings.cache_clear()


def _meant(config: Settings, gateways: list[str]) -> RunningSystem | None:
    """The system that a command means; None where none is running that agrees with what is set and given."""
    here = system_in(config.var)
    if isinstance(here, RunningSystem) and agrees(here, config, gateways):
        return here
    is_explicit = bool(gateways) or not config.model_fields_set.isdisjoint(PARTS)
    if isinstance(here, Left) and not is_explicit:
        print(f"alto-streams: {_short(here.path)} is of an `up` that was killed (process {here.pid})", file=sys.stderr)
    if "var" in config.model_fields_set:
        return None
    others = [system for system in running_systems() if agrees(system, config, gateways)]
    if len(others) > 1 and not is_explicit:
        raise ConfigError(_ambiguous(others))
    return others[0] if len(others) == 1 else None


def _ambiguous(systems: list[RunningSystem]) -> str:
    lines = [f"  ALTO_VAR={each.var}   serves {', '.join(each.pipelines)} at {each.gateway}" for each in systems]
    return "\n".join([f"{len(systems)} systems run on this machine; say which is meant, by one of:", *lines])


def _short(path: str) -> str:
    """As seen from here, if it lies below."""
    own = Path(path)
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else path
