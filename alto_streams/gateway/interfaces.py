"""What the gateway needs from the rest: the pipelines it serves, and a way into the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import PartDown
from alto_streams.wire.records import Request


@dataclass(frozen=True)
class PipelineInfo:
    """A pipeline as clients see it: what its requests look like, and which stage ends them.

    `levels`: of the stages whose items can be cancelled by themselves, the levels of their items' paths.
    `shed`: whether its requests end once they cannot meet their deadlines.
    """

    name: str
    request_type: type[msgspec.Struct]
    root_stage: str
    levels: Mapping[str, int] = field(default_factory=dict)
    shed: bool = False

    @classmethod
    def of(cls, pipeline: Pipeline) -> PipelineInfo:
        """What clients see of a pipeline. Its root is left out of `levels`: that item is the request itself."""
        items = {name: len(stage.node.lineage) for name, stage in pipeline.stages.items() if name != pipeline.root}
        return cls(pipeline.name, pipeline.request, pipeline.root, items, pipeline.shed)


class RequestLog(Protocol):
    """Appends what clients ask for; every method raises `PartDown` while the log cannot be reached."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def down(self) -> PartDown | None: ...

    async def send_request(self, request: Request) -> None: ...

    async def send_cancel(
        self, pipeline: str, root_stage: str, request: str, stage: str = "", path: str = ""
    ) -> None: ...
