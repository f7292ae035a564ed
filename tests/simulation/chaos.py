"""What disturbs a world from outside: deaths, zombies, rebalances, cancellations, jumps of the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.faults import DISTURBANCES
from tests.simulation.workers import LMWorker, StageWorker, Worker

if TYPE_CHECKING:
    from tests.simulation.world import World


class Chaos:
    """Strikes at moments that the world chooses."""

    def __init__(self, world: World) -> None:
        self._world = world

    def disturb(self) -> None:
        """Something happens, as far as the budget goes."""
        world, rng = self._world, self._world.rng
        if world.chores and rng.random() < 0.5:
            world.do_a_chore()
        if world.to_cancel is not None and rng.random() < 0.15:
            world.cancel()
        if world.pauses and rng.random() < 0.5:
            world.pauses -= 1
            self._pause(rng.choice(world.stage_workers))
        left = [fault for fault in DISTURBANCES if world.budget.get(fault)]
        if left:
            fault = rng.choice(left)
            world.budget[fault] -= 1
            world.struck[fault] += 1
            self._strike(fault)

    def _strike(self, fault: str) -> None:
        world, rng = self._world, self._world.rng
        match fault:
            case "stage death":
                self.kill(rng.choice(world.stage_workers))
            case "lm death":
                self.kill(rng.choice(world.lm_workers))
            case "stage zombie":
                self._make_zombie(rng.choice(world.stage_workers))
            case "lm zombie":
                self._make_zombie(rng.choice(world.lm_workers))
            case "rebalance":
                rng.choice(list(world.groups.values())).rebalance()
            case "newcomer":
                self._replace(rng.choice([*world.stage_workers, *world.lm_workers]))
            case "jump":
                world.scheduler.pass_time()

    def kill(self, worker: Worker) -> None:
        """Its group hears of it at some time, and its supervisor starts another one."""
        world = self._world
        worker.kill()
        world.stage_workers = [each for each in world.stage_workers if each is not worker]
        world.lm_workers = [each for each in world.lm_workers if each is not worker]
        world.some_time(lambda: worker.group.leave(worker))
        if self._is_last(worker) or world.rng.random() < 0.5:
            self._replace(worker)  # at once, so that there is always one to be chosen
        else:
            world.some_time(lambda: self._replace(worker))

    def _is_last(self, worker: Worker) -> bool:
        world = self._world
        return not any(each.group is worker.group for each in [*world.stage_workers, *world.lm_workers])

    def _replace(self, worker: Worker) -> None:
        world = self._world
        if isinstance(worker, StageWorker):
            world.start_stage(worker.stage)
        elif isinstance(worker, LMWorker):
            world.start_lm(worker.model, worker.topics)

    def _make_zombie(self, worker: Worker) -> None:
        """Stopped past its session: its group goes on without it, and one day it goes on as well."""
        world = self._world
        if worker.loop.paused or worker not in worker.group.members:
            return
        if world.rng.random() < 0.5:
            worker.loop.pause()
        worker.group.leave(worker)
        if not worker.group.members:
            self._replace(worker)
        world.some_time(lambda: self._wake(worker))

    def _wake(self, worker: Worker) -> None:
        world = self._world
        if worker.loop.dead:
            return
        worker.loop.resume()
        worker.fenced(world.rng.random() < 0.3)  # else it may still produce, for a while
        world.some_time(lambda: self._hear(worker))

    def _hear(self, worker: Worker) -> None:
        if not worker.loop.dead:
            worker.group.join(worker)

    def _pause(self, worker: Worker) -> None:
        """Slow, but still a member."""
        world = self._world
        if not worker.loop.paused:
            world.struck["pause"] += 1
            worker.loop.pause()
            world.chores.append(worker.loop.resume)
