"""Random pipelines of depth up to 5: generate and map stages, gathers at any depth, some that redo what breaks.

What a stage says follows from what it was asked, so that a plain evaluation of the pipeline can say it a second time.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from alto_streams.define.pipeline import Gather, Pipeline
from alto_streams.define.topology import REQUEST, Kind
from tests.properties import made
from tests.properties.made import Item

MAX_DEPTH = 5
SHAPES = 400  # pipelines are made once each


@dataclass
class Shape:
    """A pipeline, and what is needed to evaluate it: the stages in the order of their definition."""

    pipeline: Pipeline
    names: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


def said(stage: str, asked: str, attempt: int = 0) -> list[str]:
    """The lines that a model or a map function gives; one that begins with `!` is malformed."""
    draw = random.Random(zlib.crc32(f"{stage}|{asked}|{attempt}".encode()))
    tag = f"{stage}.{draw.randrange(10**6)}" + (f"@{attempt}" if attempt else "")
    return [("!" if draw.random() < 0.08 else "") + f"{tag}.{n}" for n in range(draw.choice((0, 1, 2, 2, 2, 3)))]


def fails(stage: str, asked: str) -> bool:
    """Whether a call fails for good once it has said its lines, or a function raises."""
    return zlib.crc32(f"{stage}?{asked}".encode()) % 23 == 0


@lru_cache(maxsize=SHAPES)
def shape_of(seed: int) -> Shape:
    """The pipeline of a seed."""
    rng = random.Random(seed)
    question = made.item_type("question")
    pipeline = Pipeline("shape", request=question)
    shape, kinds = Shape(pipeline), {REQUEST: question}
    for n in range(rng.randint(2, 6)):
        _add_stage(rng, shape, kinds, f"s{n}")
    wanted = rng.sample(shape.names, rng.randint(1, min(3, len(shape.names))))
    consumed = {each.source for stage in pipeline.stages.values() for each in stage.node.inputs}
    ends = [n for n, s in pipeline.stages.items() if s.node.kind is Kind.GATHER and not s.node.depth]
    wanted = sorted({*wanted, *(name for name in ends if name not in consumed)})
    inputs = {"question": question} | {name: Gather[kinds[name]] for name in wanted}  # type: ignore[valid-type]
    made.gather(pipeline, "root", inputs, made.item_type("root"), _gathered("root"))
    _ = pipeline.root
    return shape


def _add_stage(rng: random.Random, shape: Shape, kinds: dict[str, type[Item]], name: str) -> None:
    stages = shape.pipeline.stages
    lineage = {REQUEST: ()} | {each: stage.node.lineage for each, stage in stages.items()}
    drivers = [each for each in lineage if len(lineage[each]) < MAX_DEPTH - 1]
    driver = drivers[-1] if rng.random() < 0.7 else rng.choice(drivers)
    inputs: dict[str, Any] = {driver: kinds[driver]}
    ancestors = [REQUEST, *lineage[driver][:-1]]
    if rng.random() < 0.3 and driver != REQUEST:
        above = rng.choice(ancestors)
        inputs[above] = kinds[above]
    below = [each for each in stages if lineage[each][: len(lineage[driver])] == lineage[driver] and each != driver]
    kind = rng.choice((Kind.GENERATE, Kind.GENERATE, Kind.MAP))
    if below and rng.random() < 0.6:
        gathered = rng.choice(below)
        inputs[gathered] = Gather[kinds[gathered]]  # type: ignore[valid-type]
        kind = rng.choice((Kind.GATHER, Kind.GATHER, Kind.GENERATE, Kind.MAP))
    kinds[name] = made.item_type(name)
    if kind is Kind.GENERATE:
        broken = rng.choice(("resume", "redo", "redo"))
        show = rng.choice(("items", "nothing", "text"))
        made.generate(shape.pipeline, name, inputs, kinds[name], broken=broken, show=show)
        shape.models.append(name)
    elif kind is Kind.MAP:
        made.mapped(shape.pipeline, name, inputs, kinds[name], _mapped(name, kinds[name]))
    else:
        made.gather(shape.pipeline, name, inputs, kinds[name], _gathered(name))
    shape.names.append(name)


def _gathered(name: str) -> made.Body:
    def body(given: Mapping[str, Any]) -> str:
        asked = made.asked(given)
        if name != "root" and fails(name, asked):
            raise LookupError(name)
        return asked if name == "root" else f"{name}.{zlib.crc32(asked.encode())}"

    return body


def _mapped(name: str, kind: type[Item]) -> made.Body:
    def body(given: Mapping[str, Any]) -> list[Item]:
        asked = made.asked(given)
        if fails(name, asked):
            raise LookupError(name)
        return [kind(line.lstrip("!")) for line in said(name, asked)]

    return body
