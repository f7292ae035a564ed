"""What the gateway needs from the rest: the pipelines it serves, and a way into the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from alto_streams.parts import PartDown
from alto_streams.records import Request


@dataclass(frozen=True)
class PipelineInfo:
    """A pipeline as clients see it: what its requests look like, and which stage ends them."""

    name: str
    request_type: type[msgspec.Struct]
    root_stage: str


class RequestLog(Protocol):
    """Appends what clients ask for; every method raises `PartDown` while the log cannot be reached."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def down(self) -> PartDown | None: ...

    async def send_request(self, request: Request) -> None: ...

    async def send_cancel(self, pipeline: str, root_stage: str, request: str) -> None: ...
