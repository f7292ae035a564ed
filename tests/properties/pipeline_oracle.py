"""The pipeline evaluated directly, stage by stage, on what stands when its end is told: what the result must be.

Of the world it takes only which epoch and which attempt of each stream stood in the end; everything else follows from
the pipeline's own functions, so whatever was lost, mixed, stale, early or another call's shows.
"""

from __future__ import annotations

import random
import re
import zlib
from typing import Any

from alto_streams.define.pipeline import Gather
from alto_streams.define.topology import REQUEST, Kind, Node
from alto_streams.wire.paths import ancestor_path, child_path, is_under
from tests.properties import made
from tests.properties.made import Item
from tests.properties.pipeline_world import MAX_STEPS, Faults, PipelineWorld, Stream
from tests.properties.random_pipelines import SHAPES, fails, said, shape_of
from tests.properties.scope_model import Violation, unwire


class Evaluation:
    """All values of a request. Raises `Violation` where the world has told anything else, or not told it yet.

    Where items were cancelled, what a call was given depends on when it heard of that: then what the homes told is
    taken for what it says, but all that was not cancelled must have been told, and nothing cancelled may count.
    """

    def __init__(self, world: PipelineWorld) -> None:
        self.world, self.stages = world, world.shape.pipeline.stages
        self.values: dict[str, dict[str, str | None]] = {REQUEST: {"": world.question}}  # None: a failed leaf
        self.failed: dict[str, list[str]] = {}  # the streams that ended as failed
        for name in world.shape.names:
            self._evaluate(self.stages[name].node)

    def result(self) -> tuple[str, str]:
        """The status and the text of the request's end."""
        root = self.stages[self.world.shape.pipeline.root].node
        scoped = {stage for chain in root.scopes.values() for stage in chain}
        is_failed = any("" in self.failed[name] for name in scoped)
        return "failed" if is_failed else "ok", made.asked(self._given(root, ""))

    def _evaluate(self, node: Node) -> None:
        values: dict[str, str | None] = {}
        self.failed[node.name] = []
        for path, text in self.values[node.driver].items():
            stream = self.world.streams[node.name, path]
            found = [child.get("value", {}).get("text") if child.get("value") else None for child in stream.children]
            if text is None and stream == Stream():
                self.failed[node.name].append(path)
                continue  # there is nothing to do at a failed leaf, and nobody has to wait until that is said
            if stream.close is None:
                raise Violation(f"{node.name} at {path!r} has not closed, and the end is told: it is early")
            expected, ok = ([], False) if text is None else self._said(node, path, stream)
            if self.world.cancelled and text is not None:
                expected, ok = found, stream.close.get("status", "ok") == "ok"
            closed = (stream.close["count"], stream.close.get("status", "ok") == "ok")
            if found != expected or closed != (len(expected), ok):
                raise Violation(f"{node.name} at {path!r} said {found}, {closed}; must say {expected}, {ok}")
            if not ok:
                self.failed[node.name].append(path)
            for n, child in enumerate(expected):
                item = child_path(path, n, stream.epoch)
                if not self._is_cancelled(node.name, item):
                    values[item] = child
        self.values[node.name] = values

    def _is_cancelled(self, stage: str, item: str) -> bool:
        lineage = self.stages[stage].node.lineage
        return any(at in lineage and is_under(item, path) for at, path in self.world.cancelled)

    def _said(self, node: Node, path: str, stream: Stream) -> tuple[list[str | None], bool]:
        asked = made.asked(self._given(node, path))
        if node.kind is Kind.GATHER:
            return ([], False) if fails(node.name, asked) else ([f"{node.name}.{zlib.crc32(asked.encode())}"], True)
        lines = said(node.name, asked, stream.attempt if node.redoes else 0)
        if node.kind is Kind.MAP:
            return ([], False) if fails(node.name, asked) else ([line.lstrip("!") for line in lines], True)
        return [None if line.startswith("!") else line for line in lines], not fails(node.name, asked)

    def _given(self, node: Node, path: str) -> dict[str, Any]:
        return {each.parameter: self._input(each.source, each.gathered, path) for each in node.inputs}

    def _input(self, source: str, gathered: bool, path: str) -> Any:
        values = self.values[source]
        if not gathered:
            depth = 0 if source == REQUEST else len(self.stages[source].node.lineage)
            return Item(values[ancestor_path(path, depth)] or "")
        below = sorted((p for p in values if is_under(p, path)), key=unwire)
        failures = {p: "" for p in below if values[p] is None}
        failures |= {p: "" for p in self.failed[source] if is_under(p, path)}
        return Gather({p: Item(text) for p in below if (text := values[p]) is not None}, failures)


def settle(world: PipelineWorld, rng: random.Random) -> None:
    """Let everything happen that is still to happen, in a random order; then check what is left."""
    draw, was_done = rng.random, bool(world.done)
    while world.steps < MAX_STEPS:
        if not world.busy and not world.pass_time():
            break
        world.disturb()
        if world.busy:
            world.step(int(draw() * 1_000_000))
        if world.done and not was_done:
            was_done = True
            check_done(world)
    check_end(world)


def check_done(world: PipelineWorld) -> None:
    """At the very moment at which the end is told."""
    body = world.done[0]
    found = (body["status"], (body["result"] or {}).get("text"))
    expected = Evaluation(world).result()
    if world.cancelled:  # its failed leaves are told as well: whatever was cancelled may be among them
        found, expected = (("", _items(each[1])) for each in (found, expected))
    if expected != found:
        raise Violation(f"the result is {found}, must be {expected}")


def _items(text: str | None) -> str:
    return re.sub(r"[^,\[]*!", "", text or "").replace(",", "")


def check_end(world: PipelineWorld) -> None:
    """Once nothing happens any more."""
    if world.busy:
        raise Violation(f"still busy after {MAX_STEPS} steps")
    if len(world.done) != 1:
        raise Violation(f"its end was told {len(world.done)} times")
    left = [name for name, home in world.homes.items() if home.row.finished is None or home.row.calls]
    if left:
        raise Violation(f"{left} have not forgotten the request")


def run(seed: int) -> int:
    """One interleaving: one request to one of the pipelines, to its end. Returns how many records homes were told."""
    rng = random.Random(seed)
    world = PipelineWorld(shape_of(seed % SHAPES), rng, Faults.draw(rng))
    settle(world, rng)
    return world.steps
