"""Gives the LM workers of a model their partitions by the scheduler's plan, in place of Faust's assignor.

The group's leader assigns, and any member may lead, so each of them keeps the newest plan (`plan_feed`). A plan that
comes while the assignment is another one makes the leader ask for one rebalance; one that changes nothing, for none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor

from alto_streams.agents.scheduler.plan_feed import PlanFeed
from alto_streams.settings import Settings
from alto_streams.wire.plans import Plan
from alto_streams.wire.topic_names import class_of, class_topic
from alto_streams.worker.app import App

log = logging.getLogger(__name__)

TENDED_S = 60.0  # after which a scheduler that has told nothing is away; one tells more often, if there are calls

Owned = dict[str, dict[str, list[int]]]  # worker -> topic -> its partitions


class PlanAssignor(PartitionAssignor):  # type: ignore[misc]
    """Where plans are followed, the plan, and all in turn until there is one, as the first plan takes for granted: it
    moves few then. Elsewhere Faust's assignor. It knows no I/O: Faust calls it between two awaits.

    Without `follow_plans` it follows none.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:
        super().__init__(app, replicas)
        self._rejoin: Callable[[], None] = lambda: None
        self._follows_plans = False
        self.plan: Plan | None = None
        self._is_tended: Callable[[], bool] = lambda: True
        self.rebalances = 0  # that this member has asked for
        self._subscribed: dict[str, set[str]] = {}  # member -> topics
        self._workers: dict[str, list[str]] = {}  # topic -> who may own it
        self._counts: dict[str, int] = {}  # topic -> partitions
        self._led: Owned | None = None  # the assignment, where this member has made it

    def follow_plans(self, *, rejoin: Callable[[], None], is_tended: Callable[[], bool]) -> None:
        """Assign by plans. `rejoin` is called at most once for a plan, in a member that leads; `is_tended` says
        whether there is a scheduler that makes new plans.
        """
        self._follows_plans, self._rejoin, self._is_tended = True, rejoin, is_tended

    def follow(self, plan: Plan) -> None:
        """Assign by this plan from now on, unless it is no newer; asks for a rebalance if that makes a difference."""
        if self.plan is None or plan.version > self.plan.version:
            self.plan = plan
            self._ask()

    def _ask(self, waited_for: int | None = None) -> None:
        """Asks for a rebalance if the plan differs; `waited_for` is the version for which it has been put off."""
        plan = self.plan
        if self._led is None or plan is None or waited_for not in (None, plan.version):
            return
        if self._planned(plan) == self._led:
            return
        if waited_for is None and set(self._led) - set(plan.busy):
            session_s = self.app.conf.broker_session_timeout
            asyncio.get_running_loop().call_later(session_s, self._ask, plan.version)
            return
        log.info("%s: plan %d (%s) moves partitions", self.app.conf.id, plan.version, plan.cause)
        self._led = None
        self.rebalances += 1
        self._rejoin()

    # --- called by Faust and aiokafka ---

    def metadata(self, topics: set[str]) -> Any:
        """A rebalance has begun: who leads will be seen."""
        self._led = None
        return super().metadata(topics)

    def on_assignment(self, assignment: Any) -> None:
        """A rebalance has ended. A plan that came in the middle of it has not been asked for yet."""
        super().on_assignment(assignment)
        if self._led is not None:
            asyncio.get_running_loop().call_soon(self._ask)

    def _get_client_metadata(self, metadata: Any) -> Any:
        """What a member had: Faust keeps it where it can, and takes it for granted that topics are split alike."""
        found = super()._get_client_metadata(metadata)
        if self._follows_plans:
            found.assignment = ClientAssignment(actives={}, standbys={})
        return found

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        self._subscribed = {member: set(metadata.subscription) for member, metadata in member_metadata.items()}
        return super()._perform_assignment(cluster, member_metadata)

    def _global_table_standby_assignments(self, assignments: Any, partitions_by_topic: Any) -> Any:
        """Faust's last step before it tells everybody of the assignment, so it is the place to change it.

        Members have no tables, so nothing needs a standby.
        """
        urls, subscribed = self._member_urls, self._subscribed
        self._counts = dict(partitions_by_topic)
        self._workers = {
            topic: sorted({urls[member] for member in assignments if topic in subscribed[member]})
            for topic in partitions_by_topic
        }
        if self._follows_plans:
            self._assign_planned(assignments, self._planned(self.plan))
        self._led = led = Owned()
        for member, assignment in assignments.items():
            for topic, mine in assignment.actives.items():
                has = led.setdefault(urls[member], {})
                has[topic] = sorted([*has.get(topic, ()), *mine])
        version = "no plan" if self.plan is None else f"plan {self.plan.version}"
        log.info("%s: %s: %s", self.app.conf.id, version, describe(self._led))
        return super()._global_table_standby_assignments(assignments, partitions_by_topic)

    def _assign_planned(self, assignments: Any, owned: Owned) -> None:
        """To members what their workers own. Those that wrongly share an address share that: nothing is owned twice."""
        sharing: dict[str, list[str]] = {}
        for member in sorted(assignments):
            sharing.setdefault(self._member_urls[member], []).append(member)
        for url, members in sharing.items():
            if len(members) > 1:
                log.warning("%s: %d workers call themselves %s: set ALTO_HOST", self.app.conf.id, len(members), url)
            for member in members:
                assignments[member].actives.clear()
                assignments[member].standbys.clear()
            for topic, mine in owned.get(url, {}).items():  # none, where no topic that it wants exists
                takers = [member for member in members if topic in self._subscribed[member]]
                for number, member in enumerate(takers):
                    assignments[member].actives[topic] = mine[number :: len(takers)]

    def _planned(self, plan: Plan | None) -> Owned:
        owners: Mapping[str, Sequence[str]] = {}
        if plan is not None:
            owners = {class_topic(name): mine for name, mine in plan.owners.items()}
            if not self._is_tended():  # nobody will plan for those that have come since
                owners = make_room(owners, self._workers, set(plan.busy))
        return carry_out(owners, self._counts, self._workers)


def assign_by_plan(app: App, config: Settings, model: str) -> None:
    """Lets the app, which has this assignor, follow the plans for a model."""

    def rejoin() -> None:
        if not app.should_stop:
            app.consumer.rejoin()

    def is_tended() -> bool:
        told = [each[model].at_ms for each in (feed.plans, feed.forecasts) if model in each]
        return time.time() * 1000 - max(told, default=0) < TENDED_S * 1000

    feed = PlanFeed.of(config, [model], app.assignor.follow)
    app.assignor.follow_plans(rejoin=rejoin, is_tended=is_tended)
    app.beside(feed)


def make_room(
    owners: Mapping[str, Sequence[str]], workers: Mapping[str, Sequence[str]], known: Collection[str]
) -> dict[str, list[str]]:
    """The owners, with an even share of each topic for the workers that are there and not `known` to the plan."""
    found = {}
    for topic, planned in owners.items():
        there, mine = workers.get(topic, ()), list(planned)
        new = [worker for worker in there if worker not in known]
        for worker in new:
            for _ in range(len(mine) // len(there)):
                most = max(sorted(set(mine) - set(new)), key=mine.count)
                mine[max(p for p, owner in enumerate(mine) if owner == most)] = worker
        found[topic] = mine
    return found


def carry_out(
    owners: Mapping[str, Sequence[str]], counts: Mapping[str, int], workers: Mapping[str, Sequence[str]]
) -> Owned:
    """Who gets which partitions: the owner that is planned where it is there, else who has least.

    `owners`: topic -> the planned worker of each partition. `counts`: topic -> how many there are. `workers`: topic ->
    who is there for it. Always the same of the same; every partition has one owner, and every worker each topic's list.
    """
    owned: Owned = {worker: {} for there in workers.values() for worker in there}
    left: list[tuple[str, int]] = []
    total: Counter[str] = Counter()
    for topic in sorted(counts):
        for worker in workers[topic]:
            owned[worker][topic] = []
        planned = owners.get(topic, ())
        for partition in range(counts[topic]):
            owner = planned[partition] if partition < len(planned) else ""
            if owner in workers[topic]:
                owned[owner][topic].append(partition)
                total[owner] += 1
            else:
                left.append((topic, partition))
    for topic, partition in left:
        least = min(workers[topic], key=lambda worker: (total[worker], len(owned[worker][topic]), worker))
        owned[least][topic].append(partition)
        total[least] += 1
    return {worker: {topic: sorted(mine) for topic, mine in topics.items()} for worker, topics in owned.items()}


def describe(owned: Owned) -> str:
    """Each worker, and how many partitions of each topic it has."""
    told = []
    for worker, topics in sorted(owned.items()):
        counts = ", ".join(f"{class_of(topic)} {len(mine)}" for topic, mine in sorted(topics.items()) if mine)
        told.append(f"{worker} has {counts or 'nothing'}")
    return "; ".join(told)
