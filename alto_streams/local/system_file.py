"""What `up` keeps in its var folder while it runs: where its parts are, for the commands of the same machine.

The file is locked by the process that wrote it, so one that was left behind by a killed `up` is never taken for one
that runs, whatever process has its number now. A folder of this user's names all running systems, so that a command
finds the one there is, and notices that there are two.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from alto_streams.errors import ConfigError
from alto_streams.local.cluster import Cluster
from alto_streams.local.ping import wait_until
from alto_streams.settings import Settings

NAME = "up.json"
LOCK_WITHIN_S = 1.0  # a reader holds the lock for a moment too


class RunningSystem(msgspec.Struct, frozen=True):
    """One `up`. `pipelines` as ALTO_PIPELINES names them, to be imported in `folder`; addresses may hold passwords."""

    pid: int
    var: str
    folder: str
    broker: str
    redis: str
    host: str
    gateway_port: int
    pipelines: list[str]
    topics_file: str | None = None

    @property
    def gateway(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.gateway_port}"


class Left(msgspec.Struct, frozen=True):
    """The file of an `up` that has ended without taking it back: it was killed."""

    path: str
    pid: int


def described(cluster: Cluster) -> RunningSystem:
    """What is written of a system that this process starts."""
    config = cluster.settings
    topics = None if config.topics_file is None else str(config.topics_file.resolve())
    return RunningSystem(
        pid=os.getpid(),
        var=str(config.var.resolve()),
        folder=os.getcwd(),
        broker=config.broker,
        redis=config.redis,
        host=config.host,
        gateway_port=config.gateway_port,
        pipelines=config.pipelines,
        topics_file=topics,
    )


@contextmanager
def kept(system: RunningSystem) -> Iterator[Left | None]:
    """Keeps the file of a system as long as it runs. Tells what a killed one had left there.

    Raises:
        ConfigError: the folder cannot be written, or another system uses it.
    """
    path = Path(system.var) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"ALTO_VAR={system.var}: cannot be written ({error.strerror}); set ALTO_VAR to a folder that can"
        ) from None
    with os.fdopen(descriptor, "r+b") as file:
        if not _locked(file, fcntl.LOCK_EX):
            raise ConfigError(_in_use(system.var, _read(file)))
        before = _read(file)
        _write(file, msgspec.json.encode(system))
        entry = _entered(system)
        try:
            yield None if before is None else Left(str(path), before.pid)
        finally:
            if entry is not None:
                entry.unlink(missing_ok=True)
            _write(file, b"")  # not removed: another may have opened it already, and would lock what nobody finds


def refuse_used(var: Path) -> None:
    """Raises `ConfigError` if a system runs whose var folder this is: of a port that both want it would say less."""
    found = system_in(var)
    if isinstance(found, RunningSystem):
        raise ConfigError(_in_use(str(var.resolve()), found))


def system_in(var: Path) -> RunningSystem | Left | None:
    """The system whose var folder this is, what a killed one has left there, or None."""
    path = var / NAME
    try:
        file = path.open("rb")
    except OSError:
        return None
    with file:
        ended = _locked(file, fcntl.LOCK_SH, within_s=0.0)
        system = _read(file)
    if system is None:
        return None
    return Left(str(path), system.pid) if ended else system


def running_systems() -> list[RunningSystem]:
    """All that this user runs on this machine, oldest first."""
    folder = _folder()
    found = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name) if folder is not None else ():
        try:
            system = system_in(Path(entry.read_text()))
        except (OSError, UnicodeDecodeError):
            continue  # ended meanwhile
        if isinstance(system, RunningSystem):
            found.append(system)
        else:
            entry.unlink(missing_ok=True)
    return found


def agrees(system: RunningSystem, config: Settings, gateways: list[str]) -> bool:
    """Whether what was given (in settings, or as `--gateway`) is said of this system."""
    given = config.model_fields_set
    same = [
        getattr(config, name) == getattr(system, name) for name in ("broker", "redis", "gateway_port") if name in given
    ]
    return all(same) and (not gateways or system.gateway in [each.rstrip("/") for each in gateways])


def _locked(file: BinaryIO, how: int, within_s: float = LOCK_WITHIN_S) -> bool:
    def locked() -> bool:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return wait_until(locked, within_s)


def _read(file: BinaryIO) -> RunningSystem | None:
    file.seek(0)
    try:
        return msgspec.json.decode(file.read(), type=RunningSystem)
    except msgspec.DecodeError:
        return None  # it is empty once the system has ended


def _write(file: BinaryIO, content: bytes) -> None:
    file.seek(0)
    file.truncate()
    file.write(content)
    file.flush()


def _in_use(var: str, system: RunningSystem | None) -> str:
    who = "another `up`" if system is None else f"the `up` at {system.gateway} (process {system.pid})"
    return (
        f"ALTO_VAR={var}: {who} uses this folder; stop it, or give this one a folder of its own: "
        "ALTO_VAR=var2 alto-streams up --port 8601"
    )


def _entered(system: RunningSystem) -> Path | None:
    folder = _folder(make=True)
    if folder is None:
        return None
    entry = folder / f"{time.time_ns()}"
    entry.write_text(system.var)
    return entry


def _folder(*, make: bool = False) -> Path | None:
    """Where the running systems of this user are named; None if there is none, or somebody else's."""
    folder = Path(tempfile.gettempdir()) / f"alto-streams-{os.getuid()}"
    try:
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat(follow_symlinks=False)
    except OSError:
        return None
    return folder if found.st_uid == os.getuid() and not found.st_mode & 0o022 else None
