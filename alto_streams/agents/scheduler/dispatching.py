"""Where a stage's work items go: a dispatcher, and what keeps it informed. It waits for nothing that it is told."""

from __future__ import annotations

import uuid

from prometheus_client import CollectorRegistry, Gauge

from alto_streams.agents.scheduler.load_feed import LoadFeed
from alto_streams.agents.scheduler.plan_feed import PlanFeed
from alto_streams.scheduler.dispatch import Dispatcher, Lane
from alto_streams.scheduler.placing import Ask, Placed
from alto_streams.scheduler.policies import follows_plans, policy
from alto_streams.settings import Settings


class Dispatch:
    """The `Placing` of one process, for stages of one pipeline that call one model.

    A policy that looks at nothing has nothing read for it. Raises `ConfigError`: there is no such policy.
    """

    def __init__(self, config: Settings, model: str, lanes: dict[str, Lane], registry: CollectorRegistry) -> None:
        chosen, sender = policy(config.policy), uuid.uuid4().hex[:12]
        self._dispatcher = Dispatcher(sender, model, lanes, chosen, seed=int(sender, 16))
        self._plans: PlanFeed | None = None
        self._loads: LoadFeed | None = None
        if follows_plans(config.policy):
            self._plans = PlanFeed.of(config, [model], self._dispatcher.plan, self._dispatcher.forecast)
        if not chosen.blind:
            self._loads = LoadFeed(config, model, self._dispatcher.loads, registry)
        held = Gauge("alto_dispatched_tokens", "Tokens that calls under way are expected to take", registry=registry)
        held.set_function(lambda: sum(self._dispatcher.work().values()))

    async def start(self) -> None:
        """Know the plan before the first call, if it can be known soon."""
        if self._plans is not None:
            await self._plans.start()

    async def stop(self) -> None:
        """Stop reading."""
        if self._plans is not None:
            await self._plans.stop()
        if self._loads is not None:
            await self._loads.stop()

    def place(self, ask: Ask) -> Placed:
        """The partition of an attempt."""
        if self._loads is not None:
            self._loads.dispatching()
        return self._dispatcher.place(ask)

    def over(self, request: str, path: str) -> None:
        """The call at this path holds its worker no longer."""
        self._dispatcher.over(request, path)

    def forget(self, request: str) -> None:
        """Nor do all calls of the request."""
        self._dispatcher.forget(request)
