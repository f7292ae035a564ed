"""When to make a new plan: at once for workers that come, go or grow slow, else only for a gain that lasts.

A plan costs a rebalance, which stops every worker of the model for a moment. So what a plan is judged by is smoothed,
a gain has to show in several ticks on end, and while the mix is still shifting the planner waits for where it goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from alto_streams.scheduler.plan import Solution, predicted, solve
from alto_streams.scheduler.statistics import WorkerState, demand
from alto_streams.wire.plans import Forecast, Plan

SLOW = 0.7  # of the speed that the plan was made with
STILL = 0.04  # of all work: when less than this is of another class than `LOOK_BACK` ticks ago, the mix stands still
LOOK_BACK = 10
SETTLE_TICKS = 15  # until the first plan, at most, once there are calls
PATIENCE_S = 90.0  # a mix that never stands still gets its plan then


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a tick goes by; demand and speeds are smoothed. `share`: class -> its part of all work."""

    demand: dict[str, float]
    share: dict[str, float]
    speeds: dict[str, float]
    prefix: dict[str, float]
    rates: dict[str, float]
    partitions: Mapping[str, int]
    warm_classes: int | None

    def busiest(self, plan: Plan) -> float:
        """How busy the busiest worker would be by this plan; 1.0 is the mean."""
        busy = predicted(
            self.demand,
            self.speeds,
            plan,
            prefix=self.prefix,
            rates=self.rates,
            warm_classes=self.warm_classes,
        )
        return max(busy.values())

    def solve(self, plan: Plan | None) -> Solution:
        """What would be best now, and near to this plan."""
        return solve(
            self.demand,
            self.speeds,
            self.partitions,
            prefix=self.prefix,
            rates=self.rates,
            warm_classes=self.warm_classes,
            current=plan,
        )


class Planner:
    """Decides, tick by tick (about one a second), whether a model needs a new plan, and makes it.

    `gain`: by how much, relatively, the predicted maximum of work over speed has to fall; `interval_s`: between such
    plans; `ticks`: for how many ticks on end. `fleet`: how many workers there will be; once they are there the first
    plan is made, without having seen a call. `plan`: the last one published, to go on from.
    """

    def __init__(
        self,
        model: str,
        *,
        gain: float = 0.15,
        interval_s: float = 30.0,
        ticks: int = 5,
        smooth_s: float = 10.0,
        fleet: int | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.model = model
        self.plan = plan
        self._gain = gain
        self._interval_s = interval_s
        self._ticks = ticks
        self._smooth_s = smooth_s
        self._fleet = fleet
        self._seen: _Seen | None = None
        self._seen_ms = 0
        self._past: deque[_Seen] = deque(maxlen=LOOK_BACK)
        self._reference: dict[str, float] = {}  # the speeds that the plan was made with
        self._evident = 0
        self._slow: dict[str, int] = {}
        self._gaining = 0
        self._gaining_ms = 0

    def tick(
        self,
        at_ms: int,
        forecast: Forecast,
        workers: Mapping[str, WorkerState],
        partitions: Mapping[str, int],
        warm_classes: int | None,
    ) -> Plan | None:
        """A new plan, if it is time for one.

        `workers`: those that are there. `partitions`: prompt class -> how many its work topic has. `warm_classes`: how
        many classes' prefixes an engine keeps.
        """
        if not workers or not partitions:
            return None
        seen = self._smoothed(at_ms, forecast, workers, partitions, warm_classes)
        cause = self._cause(at_ms, seen)
        self._past.append(seen)
        return None if cause is None else self._publish(at_ms, cause, seen)

    def _cause(self, at_ms: int, seen: _Seen) -> str | None:
        plan = self.plan
        if plan is None:
            if self._fleet is not None and len(seen.speeds) >= self._fleet:
                return "first"
            self._evident = self._evident + 1 if any(seen.demand.values()) else 0
            settled = not self._shifting(seen) or self._evident >= SETTLE_TICKS  # later stages' calls come later
            return "first" if self._evident >= self._ticks and settled else None
        if {name: len(owners) for name, owners in plan.owners.items()} != dict(seen.partitions):
            return "partitions"
        if lost := sorted(set(plan.busy) - set(seen.speeds)):
            return "lost " + ", ".join(lost)
        if new := sorted(set(seen.speeds) - set(plan.busy)):
            return "new " + ", ".join(new)
        if slow := self._grown_slow(seen):
            return "slow " + ", ".join(slow)
        return self._sustained_gain(at_ms, plan, seen)

    def _grown_slow(self, seen: _Seen) -> list[str]:
        """Workers that are much slower than the plan assumes, for some time, and get no slower any more."""
        found = []
        for worker, speed in seen.speeds.items():
            reference = self._reference.setdefault(worker, speed)
            self._slow[worker] = self._slow.get(worker, 0) + 1 if speed < SLOW * reference else 0
            then = self._past[0].speeds.get(worker, speed) if self._past else speed
            falling = speed < 0.9 * then and self._slow[worker] < 3 * LOOK_BACK
            if self._slow[worker] >= self._ticks and not falling:
                found.append(worker)
        return sorted(found)

    def _sustained_gain(self, at_ms: int, plan: Plan, seen: _Seen) -> str | None:
        now = seen.busiest(plan)
        better = 1.0  # nothing can be more even, so often there is no need to solve
        if now * (1 - self._gain) > better:
            better = seen.solve(plan).imbalance
        if now * (1 - self._gain) <= better:
            self._gaining = 0
            return None
        self._gaining += 1
        if self._gaining == 1:
            self._gaining_ms = at_ms
        if self._gaining < self._ticks or at_ms - plan.at_ms < self._interval_s * 1000:
            return None
        if self._shifting(seen) and at_ms - self._gaining_ms < PATIENCE_S * 1000:
            return None
        return f"gain {1 - better / now:.0%}"

    def _shifting(self, seen: _Seen) -> bool:
        """Whether the mix is not what it was some ticks ago."""
        if not self._past:
            return False
        then = self._past[0].share
        return sum(abs(share - then.get(name, 0.0)) for name, share in seen.share.items()) / 2 > STILL

    def _smoothed(
        self,
        at_ms: int,
        forecast: Forecast,
        workers: Mapping[str, WorkerState],
        partitions: Mapping[str, int],
        warm_classes: int | None,
    ) -> _Seen:
        fresh = {name: value for name, value in demand(forecast.classes).items() if name in partitions}
        speeds = {name: forecast.speeds.get(name, state.speed) for name, state in workers.items()}
        if self._seen is not None:
            half_lives = max(0, at_ms - self._seen_ms) / 1000 / self._smooth_s
            fresh = _mix(self._seen.demand, fresh, 2.0**-half_lives)
            speeds = _mix(self._seen.speeds, speeds, 2.0 ** (-3 * half_lives))  # an engine's pace varies less
        whole = sum(fresh.values()) or 1.0
        self._seen_ms = at_ms
        self._seen = _Seen(
            demand=fresh,
            share={name: value / whole for name, value in fresh.items()},
            speeds=speeds,
            prefix={name: each.prefix_tokens for name, each in forecast.classes.items()},
            rates={name: each.rate for name, each in forecast.classes.items()},
            partitions=partitions,
            warm_classes=warm_classes,
        )
        return self._seen

    def _publish(self, at_ms: int, cause: str, seen: _Seen) -> Plan | None:
        solution = seen.solve(self.plan)
        self._reference = dict(seen.speeds)
        self._slow.clear()
        self._gaining = 0
        self.plan = Plan(
            model=self.model,
            version=self.plan.version + 1 if self.plan is not None else 1,
            at_ms=at_ms,
            cause=cause,
            owners=solution.owners,
            weights=solution.weights,
            busy={worker: round(each, 4) for worker, each in solution.busy.items()},
        )
        return self.plan


def _mix(old: Mapping[str, float], new: Mapping[str, float], keep: float) -> dict[str, float]:
    """The new names, each with what is kept of its old value."""
    return {name: keep * old.get(name, value) + (1 - keep) * value for name, value in new.items()}
