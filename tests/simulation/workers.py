"""Whoever else lives on the simulated log: the forwarder of requests, runs of LM calls, runs of map functions."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from alto_streams.records import (
    Child,
    Chunk,
    End,
    Ended,
    Raw,
    Request,
    Result,
    Start,
    Status,
    Work,
    decoder,
    encode,
)
from alto_streams.topic_names import home_topic, requests_topic, work_topic
from tests.simulation.script import Query, evidence_of, pipeline

if TYPE_CHECKING:
    from tests.simulation.home import Home
    from tests.simulation.world import World

decode_request = decoder(Request)
decode_work = decoder(Work)


class Forwarder:
    """Puts each request into the homes of the stages that take it, and of the root."""

    def __init__(self, world: World, partition: int) -> None:
        self._world, self._partition, self._position = world, partition, 0
        self._topic = requests_topic(pipeline.name)
        stages = [s.name for s in pipeline.stages.values() if any(i.source == "request" for i in s.node.inputs)]
        self._stages = sorted({*stages, pipeline.root})
        world.log.subscribe(self._topic, partition, lambda: world.wake(self))

    def step(self) -> bool:
        """One request; what a crash in the middle of one would send twice is among the world's duplicates."""
        polled = self._world.log.read(self._topic, self._partition, self._position, 1)
        if not polled:
            return False
        request = decode_request(polled[0].value)
        for stage in self._world.rng.sample(self._stages, len(self._stages)):
            self._world.append(home_topic(pipeline.name, stage), request.id, polled[0].value)
        self._position += 1
        return True


class WorkQueue:
    """One partition of a work topic: every item becomes a run, some become two."""

    def __init__(self, world: World, stage: str, partition: int) -> None:
        self._world, self._stage, self._partition, self._position = world, stage, partition, 0
        world.log.subscribe(work_topic(pipeline.name, stage), partition, lambda: world.wake(self))

    def step(self) -> bool:
        world = self._world
        polled = world.log.read(work_topic(pipeline.name, self._stage), self._partition, self._position, 1)
        if not polled:
            return False
        self._position += 1
        work = decode_work(polled[0].value)
        for _ in range(2 if world.strikes("twice") else 1):
            world.spawn(LMRun(world, work))
        return True


class LMRun:
    """One worker's execution of a work item. It may die anywhere; the item is then delivered again."""

    def __init__(self, world: World, work: Work) -> None:
        self._world, self._work = world, work
        self._id = f"run-{world.next_id()}"
        self._life = self._live()

    def step(self) -> bool:
        return next(self._life, False)

    def die(self) -> None:
        """The worker is gone; its item is unacknowledged, so another one gets it."""
        self._life.close()
        self._world.spawn(LMRun(self._world, self._work))

    def _live(self) -> Generator[bool, None, None]:
        world, work = self._world, self._work
        if self._is_over():
            return
        self._append(Start(work.request, work.path, work.attempt, self._id))
        yield True
        whole = world.expect_call(work)
        rest = whole[len(work.prefix) :]
        pieces = list(self._cut(rest))
        breaks_off = world.strikes("engine error")
        if breaks_off:
            pieces = pieces[: world.rng.randint(0, len(pieces))]
        seq = 0
        ends_with_text = bool(pieces) and not breaks_off and world.rng.random() < 0.5
        last = pieces.pop() if ends_with_text else ""
        for piece in pieces:
            if world.strikes("hole"):
                seq += 1
            self._chunk(seq, piece, None)
            seq += 1
            yield True
            if self._is_over():
                return
        end = End(Status.FAILED, "error", "the engine failed") if breaks_off else End(Status.OK, "stop")
        self._chunk(seq, last, end)

    def _cut(self, text: str) -> Iterator[str]:
        rng = self._world.rng
        if self._work.flush == "line":
            lines = text.splitlines(keepends=True)
            while lines:
                n = rng.randint(1, 3)
                yield "".join(lines[:n])
                lines = lines[n:]
            return
        while text:
            n = rng.choice((1, 3, 8, 20, 50))
            yield text[:n]
            text = text[n:]

    def _chunk(self, seq: int, text: str, end: End | None) -> None:
        work = self._work
        tokens = [ord(c) for c in text] if self._world.with_tokens else None
        self._append(Chunk(work.request, work.path, work.attempt, self._id, seq, text, len(text), tokens, end=end))

    def _append(self, record: Start | Chunk) -> None:
        home = self._work.home
        self._world.append(home.topic, self._work.request, encode(record), home.partition)

    def _is_over(self) -> bool:
        """What it has read of the control topic, which may lag behind."""
        work = self._work
        over = self._world.is_over(Ended(work.request, work.stage, work.path, work.attempt))
        return over and self._world.rng.random() < 0.5


class MapRun:
    """One run of the map function; it dies with the home that started it."""

    def __init__(
        self, world: World, home: Home, at: tuple[str, int], request: str, path: str, attempt: int, arguments: Any
    ) -> None:
        self._world, self._home, self._at = world, home, at
        self._incarnation = home.incarnation
        self._request, self._path, self._attempt = request, path, attempt
        self._query: Query = arguments["query"]

    def step(self) -> bool:
        if self._home.incarnation != self._incarnation or self._world.strikes("map lost"):
            return False
        children: list[Child] = []
        status, cause = Status.OK, None
        try:
            children = [Child(Raw(msgspec.json.encode(found))) for found in evidence_of(self._query)]
        except LookupError as error:
            status, cause = Status.FAILED, type(error).__name__
        run = f"map-{self._world.next_id()}"
        result = Result(self._request, self._path, self._attempt, run, children, status, cause)
        self._world.append(self._at[0], self._request, encode(result), self._at[1])
        return False
