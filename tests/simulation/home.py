"""The agent of one stage for one partition, on the simulated log: the exact order of work, with a crash at any step."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from alto_streams.records import HomeRecord, Request, Timer, decoder, encode
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.outputs import At
from alto_streams.tables.rows import Arm, Instruction, Row, Run, Send, decode_row, encode_row
from alto_streams.topic_names import home_topic
from tests.simulation.log import Appended
from tests.simulation.script import pipeline

if TYPE_CHECKING:
    from tests.simulation.world import World

decode = decoder(HomeRecord)  # type: ignore[arg-type,var-annotated]


class Home:
    """Owns one partition. What is in memory dies with it; `stored` (the changelog) and `committed` do not."""

    def __init__(self, world: World, stage: str, partition: int) -> None:
        self._world, self._stage, self._partition = world, stage, partition
        self._topic = home_topic(pipeline.name, stage)
        self.stored: dict[str, bytes] = {}
        self.committed = 0
        self.incarnation = 0
        world.log.subscribe(self._topic, partition, lambda: world.wake(self))
        self._begin()

    def _begin(self) -> None:
        self.incarnation += 1
        self._position = self.committed
        self._live: dict[str, Row] = {}
        world = self._world
        self._machine = StageMachine(pipeline, self._stage, world.place, Limits(world.max_attempts, world.silence_ms))
        self._life = self._live_on()

    def crash(self) -> None:
        """Another worker takes over: it has the stored rows and the committed offset, and nothing else."""
        self._life.close()
        self._begin()
        self._world.wake(self)

    def step(self) -> bool:
        """Go on until the next point where it may be interrupted. False: there is nothing to do for now."""
        return next(self._life)

    def _live_on(self) -> Generator[bool, None, None]:
        for key in list(self.stored):
            at = At(self._topic, self._partition, -1, self._world.now_ms)
            yield from self._carry_out([(key, self._machine.resume(self._row(key), at))])
        while True:
            polled = self._world.log.read(
                self._topic, self._partition, self._position, self._world.rng.choice((1, 1, 2, 4))
            )
            if not polled:
                yield False
                continue
            yield from self._handle(polled)

    def _handle(self, polled: list[Appended]) -> Generator[bool, None, None]:
        world, again, decided = self._world, dict[str, list[Instruction]](), dict[str, list[Instruction]]()
        for each in polled:
            record = decode(each.value)
            key = record.id if isinstance(record, Request) else record.request
            row = self._row(key)
            if each.offset <= row.offset and "redelivered applied again" not in world.mutants:
                if key not in decided:
                    again[key] = [] if "outbox not sent again" in world.mutants else row.outbox
                continue
            at = At(self._topic, self._partition, each.offset, each.at_ms)
            decided.setdefault(key, []).extend(self._machine.apply(row, record, at))
            world.applied += 1
        yield True
        for key, instructions in decided.items():
            kept = [] if "outbox replaced" in world.mutants else again.get(key, [])
            self._live[key].outbox = [*kept, *instructions]
            self.stored[key] = encode_row(self._live[key])
            yield True
        yield from self._carry_out([*again.items(), *decided.items()])
        for key in (*again, *decided):
            if self._live[key].finished is not None and self._live[key].outbox:
                self._live[key].outbox = []
                self.stored[key] = encode_row(self._live[key])
        self._position += len(polled)
        if world.rng.random() < 0.5:  # offsets are committed now and then, never ahead
            self.committed = self._position
        yield True

    def _row(self, key: str) -> Row:
        if key not in self._live:
            stored = self.stored.get(key)
            self._live[key] = Row() if stored is None else decode_row(stored)
        return self._live[key]

    def _carry_out(self, decided: list[tuple[str, list[Instruction]]]) -> Generator[bool, None, None]:
        world = self._world
        for key, instructions in decided:
            for each in instructions:
                match each:
                    case Send(topic, record, send_key, to):
                        world.append(topic, send_key or key, bytes(record), to)
                        yield True
                    case Run(path, attempt):
                        row = self._row(key)
                        call = row.calls.get(path)
                        if call is not None and not call.closed and call.attempt == attempt:
                            arguments = self._machine.arguments(row, path)
                            world.run_map(self, self._partition, self._stage, key, path, attempt, arguments)
                    case Arm(path, attempt, mark, at_ms):
                        value = encode(Timer(key, path, attempt, mark))
                        world.at(at_ms, self, lambda v=value, k=key: self._fire(k, v))  # type: ignore[misc]

    def _fire(self, key: str, value: bytes) -> None:
        self._world.append(self._topic, key, value, self._partition)
