"""The scheduler in virtual time: the product's dispatchers, statistics and planner, with the delays between them."""

from __future__ import annotations

from dataclasses import replace

from alto_streams.define.pipeline import Pipeline
from alto_streams.scheduler.dispatch import Dispatcher, Lane
from alto_streams.scheduler.downstream import downstream
from alto_streams.scheduler.paces import LOAD_S, PLAN_S, REPORT_S
from alto_streams.scheduler.placing import Placing
from alto_streams.scheduler.planner import Planner
from alto_streams.scheduler.policies import PromptAware, policy
from alto_streams.scheduler.statistics import Statistics
from alto_streams.simulator.clock import Clock
from alto_streams.simulator.experiment import MODEL, Observer, SimulatedSystem
from alto_streams.simulator.fleet import SimulatedFleet
from alto_streams.wire.plans import EngineReport, Forecast, Load, Plan


class Scheduling:
    """A sender for each home, and what they are told. Without delays (`hop_s` 0) all are one, which knows every call.

    Only `prompt_aware` has a planner: the other policies know no plan.
    """

    def __init__(
        self,
        clock: Clock,
        fleet: SimulatedFleet,
        pipeline: Pipeline,
        system: SimulatedSystem,
        watch: Observer,
        seed: int,
    ) -> None:
        self._clock, self._fleet, self._system, self._watch = clock, fleet, system, watch
        lanes = {name.partition(".")[2]: Lane(name, count) for name, count in fleet.partitions.items()}
        senders = list(pipeline.stages) if system.hop_s else [""]
        self._dispatchers = {
            stage: Dispatcher(f"home-{stage}", MODEL, lanes, policy(system.policy), seed) for stage in senders
        }
        self._course = replace(downstream(pipeline), models=dict.fromkeys(fleet.partitions, MODEL))
        self._statistics = Statistics(lost_s=system.session_s, course=self._course)
        is_planned = system.policy == PromptAware.name
        self._planner = Planner(MODEL, fleet=system.engines) if is_planned else None
        clock.every(LOAD_S, self._tell)
        clock.every(REPORT_S, self._report)
        clock.every(PLAN_S, self._plan)

    def placing(self, stage: str) -> Placing:
        """Whom the home of this stage asks."""
        return self._dispatchers[stage if self._system.hop_s else ""].of(stage)

    def _tell(self) -> None:
        self._later(self._told, self._fleet.loads())

    def _told(self, loads: list[Load]) -> None:
        for each in self._dispatchers.values():
            each.loads(loads, self._clock.now_ms)

    def _report(self) -> None:
        for worker in self._fleet.alive:
            self._later(self._reported, worker.report())

    def _reported(self, report: EngineReport) -> None:
        self._statistics.take(report)

    def _plan(self) -> None:
        now_ms = self._clock.now_ms
        forecast = self._statistics.forecast(MODEL, now_ms)
        self._later(self._expect, forecast)
        if self._planner is None:
            return
        there, most = self._statistics.workers(MODEL, now_ms), self._system.timing.prefixes
        plan = self._planner.tick(now_ms, forecast, there, self._fleet.partitions, most)
        if plan is not None:
            self._watch.planned(self._clock.now_s, plan)
            self._later(self._follow, plan)

    def _expect(self, forecast: Forecast) -> None:
        for each in self._dispatchers.values():
            each.forecast(forecast)

    def _follow(self, plan: Plan) -> None:
        for each in self._dispatchers.values():
            each.plan(plan)
        self._fleet.follow(plan)

    def _later(self, happens: object, what: object) -> None:
        self._clock.at(self._clock.now_s + self._system.hop_s, happens, what)  # type: ignore[arg-type]
