"""The home of one stage: its machine, its rows in memory, its timers and its map functions."""

from __future__ import annotations

from collections.abc import Callable

from alto_streams.agents.home.maps import MapRunner
from alto_streams.define.pipeline import Pipeline
from alto_streams.scheduler.placing import Placing
from alto_streams.simulator.clock import EPOCH_MS, Clock, Logs
from alto_streams.simulator.experiment import SimulatedSystem
from alto_streams.simulator.virtual import VirtualLoop
from alto_streams.tables.instructions import (
    HELD_AGAIN_MS,
    in_waves,
    is_open,
    request_of,
    takes_effect,
    timer_name,
)
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Arm, Instruction, Row, Run, Send
from alto_streams.tables.turns import At
from alto_streams.wire.records import HomeRecord, Result, Timer, decoder, encode
from alto_streams.wire.topic_names import home_topic, results_topic

_decode: Callable[[bytes], HomeRecord] = decoder(HomeRecord)  # type: ignore[arg-type]


class Home:
    """Applies the records of one stage's home in order, and carries out at once what its machine asks for."""

    def __init__(
        self,
        pipeline: Pipeline,
        stage: str,
        clock: Clock,
        logs: Logs,
        placing: Placing,
        system: SimulatedSystem,
        seed: int,
    ) -> None:
        self._stage, self._topic, self._clock, self._logs = stage, home_topic(pipeline.name, stage), clock, logs
        self._results = results_topic(pipeline.name)
        self._machine = StageMachine(pipeline, stage, placing, system.limits)
        self._rows: dict[str, Row] = {}
        self._timers: dict[str, dict[str, tuple[float, Timer]]] = {}
        self.loop = VirtualLoop(clock, f"{pipeline.name}.{stage}")
        self._maps = MapRunner(pipeline, stage, self._returned, system.maps_at_once)
        self._seed = f"{seed}/{stage}"
        logs.read(self._topic, self.take)

    def take(self, partition: int, offset: int, at_ms: int, value: bytes) -> None:
        """The next record of the home's partition."""
        record = _decode(value)
        request = request_of(record)
        row = self._rows.get(request)
        if row is None:
            row = self._rows[request] = Row()
        turn = self._machine.apply(row, record, At(self._topic, partition, offset, at_ms))
        self._carry_out(request, row, partition, turn.asked)
        if row.finished is not None:
            self._timers.pop(request, None)

    def _carry_out(self, request: str, row: Row, partition: int, asked: list[Instruction]) -> None:
        sends: list[Send] = []
        for each in asked:
            match each:
                case Send():
                    sends.append(each)
                case Run(path, attempt):
                    self._run(partition, request, row, path, attempt)
                case Arm():
                    self._arm(partition, request, each)
        for send in (send for wave in in_waves(sends, self._results) for send in wave):
            self._logs.append(send.topic, bytes(send.record), send.partition or 0)

    def _run(self, partition: int, request: str, row: Row, path: str, attempt: int) -> None:
        if is_open(row, path, attempt):
            number = request[19:]  # what stands behind the time: a request that is sent at another time draws the same
            with self.loop.entered(f"{self._seed}/{number}/{path}"):
                self._maps.start(partition, request, path, attempt, self._machine.arguments(row, path))

    async def _returned(self, partition: int, result: Result) -> None:
        self._logs.append(self._topic, encode(result), partition)

    def _arm(self, partition: int, request: str, arm: Arm) -> None:
        """A later timer for the same silence, deadline or call replaces the one before."""
        own = self._timers.setdefault(request, {})
        name = timer_name(arm)
        at_s = (arm.at_ms - EPOCH_MS) / 1000
        if name not in own:
            self._clock.at(at_s, self._fire, partition, request, name)
        own[name] = (at_s, Timer(request, arm.path, arm.attempt, arm.mark, arm.due))

    def _fire(self, partition: int, request: str, name: str) -> None:
        own = self._timers.get(request, {})
        if name not in own:
            return
        at_s, timer = own[name]
        if at_s <= self._clock.now_s and self._maps.holds(partition, request, timer.path, timer.attempt):
            at_s = self._clock.now_s + HELD_AGAIN_MS / 1000
            own[name] = (at_s, timer)
        if at_s > self._clock.now_s:  # it was put off since this was set
            self._clock.at(at_s, self._fire, partition, request, name)
            return
        del own[name]
        if takes_effect(self._rows[request], timer):
            self._logs.append(self._topic, encode(timer), partition)
