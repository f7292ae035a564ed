"""Free ports, and a clear word when a port is taken: which, by whom if the machine tells, and what to change."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from pathlib import Path

from alto_streams.errors import ConfigError, PortInUse

LISTENING = "0A"
RESERVE_S = 1.0
FIRST, LAST = 10_000, 65_535  # below are the defaults of servers that may be started later
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL = 32_768, LAST  # covers Linux's own and the BSDs'


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that nothing listens on now, and that no other call, of any process, gives for a minute.

    None of those that the machine gives to outgoing connections, if there are others: one of them could be a
    connection's before its server has started, or while that is being restarted.

    Raises:
        ConfigError: there are not as many.
    """
    ports: list[int] = []
    for port in _candidates():
        if len(ports) == count:
            break
        if _reserve(host, port):
            ports.append(port)
    if len(ports) < count:
        raise ConfigError(f"{host} has no {count} free ports between {FIRST} and {LAST}. Stop some of its servers.")
    return ports


def _reserve(host: str, port: int) -> bool:
    """Whether nobody has the port. If so, a connection is left at it that has just been closed.

    While the system remembers that one, the port is free to what binds with SO_REUSEADDR or SO_REUSEPORT, as servers
    do, and to nothing that binds as this does: several systems that start at the same time get different ports.
    """
    with socket.socket(_family(host)) as listener:
        try:
            listener.bind((host, port))
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # of the connection, too
                listener.setsockopt(socket.SOL_SOCKET, option, 1)
            listener.listen(1)
            with socket.create_connection((host, port), RESERVE_S) as client:
                listener.accept()[0].close()  # whoever closes first is remembered
                client.recv(1)
        except OSError:
            return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _candidates() -> Iterable[int]:
    try:
        low, high = (int(bound) for bound in _EPHEMERAL.read_text().split())
    except OSError:
        low, high = _USUAL_EPHEMERAL
    lasting = [port for port in range(FIRST, LAST + 1) if not low <= port <= high]
    others = list(range(max(low, FIRST), min(high, LAST) + 1))
    chance = random.SystemRandom()  # whoever has seeded `random` alike would be led to the same ports
    yield from chance.sample(lasting, len(lasting))
    yield from chance.sample(others, len(others))


def check_free(part: str, host: str, port: int, setting: str) -> None:
    """Return if `part` can listen at `host:port`.

    Raises:
        PortInUse: something else does; `setting` is the environment variable that moves the part.
        ConfigError: the address cannot be bound at all (not of this machine, or a privileged port).
    """
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if isinstance(error, PermissionError) or not _listens(host, port):
                raise ConfigError(
                    f"{part} cannot listen on {host}:{port} ({error.strerror}). Set {setting} to another address."
                ) from None
            owner = owner_of(port)
            by = f" by {owner}" if owner else ""
            raise PortInUse(
                f"{part} cannot start: port {port} on {host} is in use{by}. "
                f"Stop that process, or set {setting} to a free port."
            ) from None


def owner_of(port: int) -> str | None:
    """The process listening on a TCP port of this machine, as `name (pid N)`; None where the machine does not tell.

    Reads /proc, so Linux only, and only processes of the same user unless asked by root.
    """
    inodes = set(_listening_inodes(port))
    if not inodes:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in links for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:  # gone meanwhile, or not ours to see
            continue
    return None


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 0.5):
            return True
    except OSError:
        return bool(list(_listening_inodes(port)))


def _listening_inodes(port: int) -> Iterable[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
