"""Whole pipelines of several shapes, run through their homes in any order of arrival, in both modes."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import REQUEST
from alto_streams.tables.rows import Instruction, Run, Send
from alto_streams.wire.records import Child, Chunk, HomeRecord, Mode, Raw, Result, Status, Wire
from tests.unit.homes import REQUEST_ID, STOP, Home, chunk, events, request, start, works
from tests.unit.shapes import Q, answer, deep, fork, raising, turn

SEEDS = range(30)


class Runner:
    """Delivers what the homes say to one another: in order between two of them, in any order else."""

    def __init__(self, pipeline: Pipeline, mode: Mode, seed: int) -> None:
        assert pipeline.root
        self._pipeline, self._mode, self._rng = pipeline, mode, random.Random(seed)
        self._homes = {stage: Home(pipeline, stage, forgetful=seed % 2 == 0) for stage in pipeline.stages}
        self._roads: dict[tuple[str, str], deque[Any]] = {}
        self.done: list[dict[str, Any]] = []
        for stage in pipeline.stages.values():
            if stage.node.takes(REQUEST) or stage.name == pipeline.root:
                self._put(REQUEST, stage.name, request(Q("xy"), mode))

    def run(self) -> dict[str, Any]:
        """Until nothing is on its way. Returns the end of the request."""
        while self._roads:
            road = self._rng.choice(sorted(self._roads))
            record = self._roads[road].popleft()
            if not self._roads[road]:
                del self._roads[road]
            self._carry_out(road[1], self._homes[road[1]].tell(record))
        (body,) = self.done
        assert all(home.row.finished for home in self._homes.values())
        return body

    def _put(self, source: str, target: str, *records: Wire) -> None:
        self._roads.setdefault((source, target), deque()).extend(records)

    def _carry_out(self, stage: str, asked: list[Instruction]) -> None:
        for event in events(asked):
            if event.kind == "done":
                self.done.append(msgspec.json.decode(event.body))
                # Only the rest of a stream that was closed over its author's mistake may still be on its way.
                waiting = [one for road in self._roads.values() for one in road if not isinstance(one, Chunk)]
                assert not waiting or self._mode is Mode.BARRIER, "it ended before all of it had been heard"
        for work in works(asked):
            text = answer(work.call.messages[-1].content)
            half = len(text) // 2
            pieces = (chunk(work.path, 0, text[:half]), chunk(work.path, 1, text[half:], end=STOP))
            self._put(f"worker of {work.path}", stage, start(work.path), *pieces)
        for each in asked:
            if isinstance(each, Run):
                self._put(f"map of {each.path}", stage, self._mapped(stage, each))
            elif isinstance(each, Send) and each.topic.startswith("chunks."):
                record = msgspec.json.decode(each.record, type=HomeRecord)
                self._put(stage, each.topic.rpartition(".")[2], record)

    def _mapped(self, stage: str, run: Run) -> Result:
        home, defined = self._homes[stage], self._pipeline.stages[stage]
        try:
            found = _returned(defined.function(**home.machine.arguments(home.row, run.path)))
        except LookupError:
            return Result(REQUEST_ID, run.path, run.attempt, "m", status=Status.FAILED, cause="not found")
        children = [Child(Raw(msgspec.json.encode(each))) for each in (found if defined.many else [found])]
        return Result(REQUEST_ID, run.path, run.attempt, "m", children)


def _returned(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a map function of these tests waits for nothing")


DEEP = [f"xy.{a}+{b}>xy.{a}>xy.{a}+{b}.{c}.0" for a in range(2) for b in range(2) for c in range(2)]
FORK = [
    "xy.0=xy.0.0,xy.0.1;xy.0;0",
    "xy.1=xy.1.0,xy.1.1;;1",
    "xy.2=xy.2.0,xy.2.1;xy.2;0",
]
TURN = ["xy.0+xy.1+xy.2.0", "xy.0+xy.1+xy.2.1"]
RAISING = [
    "0 b raised KeyError",
    "0 c raised RuntimeError",
    "1 b raised ValueError",
    "1 c raised RuntimeError",
    "2 b raised ValueError",
    "2 c raised RuntimeError",
]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("shape", "found"), [(deep, DEEP), (fork, FORK), (turn, TURN)])
def test_every_order_gives_the_same_result(shape: Callable[[], Pipeline], found: list[str], mode: Mode) -> None:
    for seed in SEEDS:
        body = Runner(shape(), mode, seed).run()
        assert (body["status"], body["result"]) == ("ok", {"found": found}), f"seed {seed}"


@pytest.mark.parametrize("mode", list(Mode))
def test_authors_mistakes_are_failed_leaves(mode: Mode) -> None:
    for seed in SEEDS:
        body = Runner(raising(), mode, seed).run()
        assert body["status"] == "ok", f"seed {seed}"
        assert body["result"]["found"] == RAISING, f"seed {seed}"
