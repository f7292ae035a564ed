"""What comes after a call, by its pipeline: the stages that wait for its items, and how long they will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import Kind

MAP_S = 0.2  # what a map is expected to take; nobody reports it


@dataclass(frozen=True, slots=True)
class Downstream:
    """By prompt class, or `pipeline.stage` of another kind: who takes its items (`after`), and the model that it calls.

    `assumed_s`: how long a call of a stage takes that no engine reports.
    """

    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    assumed_s: Mapping[str, float] = field(default_factory=dict)

    def classes(self, model: str) -> list[str]:
        """The prompt classes of a model."""
        return sorted(name for name, each in self.models.items() if each == model)

    def rest_s(self, call_s: Mapping[str, float]) -> dict[str, float]:
        """Class -> seconds from the end of a call to that of its request: the longest way, if nothing waits."""
        found: dict[str, float] = {}

        def rest(name: str) -> float:
            if name not in found:
                ways = (call_s.get(n, self.assumed_s.get(n, 0.0)) + rest(n) for n in self.after.get(name, ()))
                found[name] = max(ways, default=0.0)
            return found[name]

        return {name: rest(name) for name in (*self.after, *call_s)}


def downstream(*pipelines: Pipeline) -> Downstream:
    """What follows what in these pipelines."""
    after: dict[str, tuple[str, ...]] = {}
    models: dict[str, str] = {}
    assumed_s: dict[str, float] = {}
    for pipeline in pipelines:
        for name, stage in pipeline.stages.items():
            takers = [n for n, each in pipeline.stages.items() if any(i.source == name for i in each.node.inputs)]
            after[f"{pipeline.name}.{name}"] = tuple(f"{pipeline.name}.{taker}" for taker in takers)
            if stage.model is not None:
                models[f"{pipeline.name}.{name}"] = stage.model
            else:
                assumed_s[f"{pipeline.name}.{name}"] = MAP_S if stage.node.kind is Kind.MAP else 0.0
    return Downstream(after, models, assumed_s)
