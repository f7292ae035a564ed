"""The processes of a simulated world: stage workers and LM workers, made of the shells that production runs."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition
from faust.types import TP

from alto_streams.agents.home.admitting import RequestAgent
from alto_streams.agents.home.agent import StageAgent
from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.control import ControlLog
from alto_streams.agents.lm.pool import Pool
from alto_streams.errors import Fenced, Retryable
from alto_streams.scheduler.admission import Admission
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.versions import Rows
from alto_streams.wire.records import Status
from alto_streams.wire.request_ids import created_ms
from alto_streams.wire.topic_names import control_topic, home_topic, requests_topic, stage_app
from alto_streams.worker.pump import Pump
from tests.simulation.engine import SimulatedEngine
from tests.simulation.group import Consumer, Group
from tests.simulation.log import Appended, Place
from tests.simulation.loop import ProcessLoop
from tests.simulation.producer import Producer
from tests.simulation.rows import Table

if TYPE_CHECKING:
    from tests.simulation.world import World

AT_ONCE = 64


class Worker(Consumer, ABC):
    """One process of a consumer group. Killing it loses what it had in memory, and nothing else."""

    def __init__(self, world: World, group: Group) -> None:
        super().__init__(world, ProcessLoop(world.scheduler), group)
        self.world, self.producer = world, Producer(world, self.loop)
        self.loop.run_in(self.start)

    @abstractmethod
    def start(self) -> None:
        """Set its tasks going."""

    def fenced(self, is_fenced: bool) -> None:
        self.producer.fenced = is_fenced

    def kill(self) -> None:
        """As by SIGKILL."""
        self.loop.dead = True
        self.producer.die()
        self.world.log.unfollow(self)
        self.loop.kill()


class StageWorker(Worker):
    """The homes of one stage's calls; that of the root also lets requests in."""

    def __init__(self, world: World, group: Group, stage: str) -> None:
        self.stage = stage
        super().__init__(world, group)

    def start(self) -> None:
        world, pipeline, stage = self.world, self.world.pipeline, self.stage
        self._app = self._as_faust_app()
        is_root = stage == pipeline.root
        self.rows = Table(
            self._app,  # type: ignore[arg-type]
            "rows",
            on_active=self._take_over,
            on_lost=self._lose,
            expired=None if is_root else lambda key: created_ms(key) + world.horizon_ms < world.now_ms,
        )
        self.rows.kept, self.rows.stage = world.kept, stage
        machine = StageMachine(pipeline, stage, world, Limits(world.max_attempts, world.silence_ms))
        admission = Admission()
        self.shell = StageAgent(
            pipeline,
            stage,
            machine,
            self.rows,
            self.producer.send_all,
            horizon_ms=world.horizon_ms,
            maps_at_once=AT_ONCE,
            on_over=lambda request, status: admission.ended(request, status is Status.OK),
        )
        self._pump(home_topic(pipeline.name, stage), self.shell.handle)
        if is_root:
            requests = RequestAgent(pipeline, self.producer.send_all, admission, world.horizon_ms)
            self._pump(requests_topic(pipeline.name), requests.handle)
        self.loop.create_task(self._recover())

    def held(self, place: Place) -> int | None:
        topic, partition = place
        return self.shell.held(partition) if topic == home_topic(self.world.pipeline.name, self.stage) else None

    def sweep(self) -> None:
        """Delete what is older than the horizon."""

        async def sweep() -> None:
            with contextlib.suppress(Fenced, Retryable):
                await self.shell.sweep(self.world.now_ms)

        self.loop.create_task(sweep())

    def on_assigned(self) -> None:
        """The rows have to be read back before anything is polled."""
        partitions = frozenset(partition for _, partition in self.places)
        self._app.assignor.actives = {TP(self.rows.topic, partition) for partition in partitions}
        self.rows.rebalanced({TP(self.rows.topic, p) for p in self._partitions - partitions}, self.generation)
        self._partitions = partitions
        self._recovery.signal_recovery_start.set()

    def _as_faust_app(self) -> Any:
        """What the table asks of its app."""
        self._partitions = frozenset[int]()
        self._recovery = SimpleNamespace(signal_recovery_start=asyncio.Event(), _generation_id=0)
        assignor = SimpleNamespace(actives=set())
        assignor.assigned_actives = lambda: assignor.actives
        return SimpleNamespace(
            conf=SimpleNamespace(id=stage_app(self.world.pipeline.name, self.stage)),
            sender=self.producer,
            tables=SimpleNamespace(add=lambda table: None, recovery=self._recovery),
            assignor=assignor,
            crash=self._crash,
        )

    async def _recover(self) -> None:
        """One recovery after the other, as Faust does it: a new assignment ends the one that is going on."""
        signal = self._recovery.signal_recovery_start
        while True:
            await signal.wait()
            signal.clear()
            generation = self._recovery._generation_id = self.generation
            for partition in sorted(self._partitions):
                place = (self.rows.topic, partition)
                self.rows._rows.setdefault(partition, Rows())
                for each in self.world.log.compacted(place, self.world.rng):
                    self.rows.read_back(partition, each.key or b"", each.value)
                await asyncio.sleep(0)
                if signal.is_set():
                    break
            if not signal.is_set():
                for partition in sorted(self._partitions) if self.is_owner else ():
                    self.world.kept.check_recovered(self.stage, partition, self.rows._rows[partition])
                await self.rows.recovered(self._partitions)
            if not signal.is_set() and self.generation == generation:
                self.poll()

    async def _take_over(self, taken: frozenset[int]) -> None:
        for partition in sorted(taken):
            await self.shell.take_over(partition, self.world.now_ms)

    def _lose(self, lost: frozenset[int]) -> None:
        for partition in sorted(lost):
            self.shell.give_up(partition)

    def _pump(self, topic: str, handle: Any) -> None:
        pump = Pump(handle, self)
        self.subscribe([topic])
        self.feed([topic], pump)
        pump.broken.add_done_callback(lambda broken: self.world.fail(f"{self.stage}: {broken.exception()!r}"))

    async def _crash(self, error: BaseException) -> None:
        if isinstance(error, Fenced | Retryable):  # while it was taking over: the process ends itself
            self.world.ends_itself(self)
        else:
            self.world.fail(f"{self.stage}: {error!r}")


class LMWorker(Worker):
    """What stands in front of one engine, for all stages of its model."""

    def __init__(self, world: World, group: Group, model: str, topics: list[str]) -> None:
        self.model, self.topics = model, topics
        super().__init__(world, group)

    def start(self) -> None:
        control = ControlLog(lambda: ControlReader(self), [control_topic(self.world.pipeline.name)], keep_s=10**9)  # type: ignore[arg-type,return-value]
        agent = LMAgent(SimulatedEngine(self.world), control, self.producer)
        control.on_over = agent.on_over
        pool = Pool(agent, self.world.slots, self.producer.send_all, self)
        self.subscribe(self.topics)

        async def live() -> None:
            await control.start()
            self.feed(self.topics, pool)

        self.loop.create_task(live())


class _Read:
    """A control record as aiokafka gives it."""

    __slots__ = ("offset", "partition", "timestamp", "topic", "value")

    def __init__(self, topic: str, record: Appended) -> None:
        self.topic, self.partition, self.offset = topic, 0, record.offset
        self.timestamp, self.value = record.at_ms, record.value


class ControlReader:
    """Stands in for the consumer without a group that reads the control topics."""

    def __init__(self, worker: LMWorker) -> None:
        self._log, self._loop = worker.world.log, worker.loop
        self._position, self._topic = 0, ""
        self._arrived: Any = None
        self._owner = worker

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, 0)]

    def assign(self, places: list[Any]) -> None:
        self._topic = places[0].topic
        self._log.follow((self._topic, 0), self._owner, self._wake)

    async def beginning_offsets(self, places: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(places, 0)

    def seek(self, place: Any, offset: int) -> None:
        self._position = offset

    async def end_offsets(self, places: list[Any]) -> dict[Any, int]:
        return {place: self._log.end((place.topic, place.partition)) for place in places}

    async def position(self, place: Any) -> int:
        return self._position

    async def getmany(self, timeout_ms: int) -> dict[Any, list[_Read]]:
        """What has arrived. Only one who still catches up is answered with nothing."""
        place = (self._topic, 0)
        while self._log.end(place) <= self._position and timeout_ms > 1_000:
            self._arrived = self._loop.create_future()
            await self._arrived
        found = self._log.read(place, self._position, 100)
        self._position += len(found)
        return {place: [_Read(self._topic, each) for each in found]}

    def _wake(self, place: Any) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
