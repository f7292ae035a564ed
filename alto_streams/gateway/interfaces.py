"""What the gateway needs from the rest: the pipelines it serves, and a way into the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import PartDown
from alto_streams.wire.records import Request


class StageInfo(msgspec.Struct, frozen=True):
    """A stage as clients see it. `shows`: what events tell of it, `text`, `items` or `nothing`.

    `lineage`: the stages whose items stand at the levels of its paths, itself last; none of the request itself.
    """

    name: str
    kind: str
    shows: str
    lineage: list[str]


class PipelineState(msgspec.Struct, frozen=True):
    """A pipeline that a gateway serves. `request`: the JSON Schema of a request's input; `result`: the last stage."""

    name: str
    request: dict[str, Any]
    stages: list[StageInfo]
    result: str


@dataclass(frozen=True)
class PipelineInfo:
    """A pipeline as clients see it: what its requests look like, its stages, and which of them ends a request.

    `levels`: of the stages whose items can be cancelled by themselves, the levels of their items' paths.
    `shed`: whether its requests end once they cannot meet their deadlines. `models`: each with the stages that call it.
    """

    name: str
    request_type: type[msgspec.Struct]
    root_stage: str
    levels: Mapping[str, int] = field(default_factory=dict)
    shed: bool = False
    stages: Sequence[StageInfo] = ()
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def state(self) -> PipelineState:
        """What a client is told of it."""
        return PipelineState(self.name, msgspec.json.schema(self.request_type), list(self.stages), self.root_stage)

    def shown_ancestor(self, stage: str, path: str) -> tuple[str, str] | None:
        """The item itself, or the nearest above it, of a stage whose items events tell; None where none does."""
        shows = {each.name: each for each in self.stages}
        parts = path.split("/")
        lineage = shows[stage].lineage[: len(parts)] if stage in shows else []
        for level in range(len(lineage), 0, -1):
            if shows[lineage[level - 1]].shows == "items":
                return lineage[level - 1], "/".join(parts[:level])
        return None

    @classmethod
    def of(cls, pipeline: Pipeline) -> PipelineInfo:
        """What clients see of a pipeline. Its root is left out of `levels`: that item is the request itself."""
        items = {name: len(stage.node.lineage) for name, stage in pipeline.stages.items() if name != pipeline.root}
        stages = [
            StageInfo(name, stage.node.kind.value, stage.show, list(stage.node.lineage))
            for name, stage in pipeline.stages.items()
        ]
        models = pipeline.models()
        return cls(pipeline.name, pipeline.request, pipeline.root, items, pipeline.shed, stages, models)


class RequestLog(Protocol):
    """Appends what clients ask for; every method raises `PartDown` while the log cannot be reached."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def down(self) -> PartDown | None: ...

    async def send_request(self, request: Request) -> None: ...

    async def send_cancel(
        self, pipeline: str, root_stage: str, request: str, stage: str = "", path: str = ""
    ) -> None: ...
