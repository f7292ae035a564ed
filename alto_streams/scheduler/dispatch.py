"""The dispatch: which worker takes a call, and which of its partitions. Pure; one for each process that dispatches.

It may be told a plan, a forecast and the workers' loads, each at any time or never. With nothing at all partitions
take turns; without fresh loads the plan's weights decide. Nothing it is told or not told makes it fail.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from alto_streams.scheduler.loads import Fleet, Ledger, Worker
from alto_streams.scheduler.placing import Ask, Placed, in_turn
from alto_streams.scheduler.policies import Candidates, Choice, Cost, Owner, Policy
from alto_streams.scheduler.slack import latest_start
from alto_streams.wire.plans import Candidate, ClassForecast, Forecast, Load, Plan, Receipt
from alto_streams.wire.records import Call

OUTPUT_TOKENS = 128.0  # what a call writes of which nothing is known, if it may write so much
CHARACTERS = 4.0  # of a prompt, per token, until a forecast tells
LEARN = 0.05  # the weight of the last prompt in the mean length of its class's
LEAST_REST = 0.25  # of the mean output: what is left of a call that has already written more


class Lane(NamedTuple):
    """A stage's prompt class, and how many partitions its work topic has."""

    prompt_class: str
    partitions: int


@dataclass(slots=True)
class _Lane:
    """What is known of one prompt class. `owners` is of the fleet's change number `made`."""

    prompt_class: str
    partitions: int
    turn: Iterator[int]
    forecast: ClassForecast | None = None
    characters: float = 0.0
    made: int = -1
    owners: Sequence[Owner] = ()
    shares: Sequence[Owner] = ()
    by_partition: Sequence[Owner] = ()
    live: bool = False
    planned: bool = False


class Dispatcher:
    """Sends the calls of one pipeline's stages to the workers of one model; `lanes` says which stages.

    It is the `Placing` of a process with one of these stages. Paths are a stage's own, so where one process has
    several, each asks its own `of(stage)`. `decisions` counts them, `blind` those that missed the live load.
    """

    def __init__(self, sender: str, model: str, lanes: Mapping[str, Lane], policy: Policy, seed: int = 0) -> None:
        self.sender, self.model, self.policy = sender, model, policy
        self.decisions = self.blind = 0
        self._lanes = {stage: _Lane(*lane, turn=in_turn(lane.partitions)) for stage, lane in lanes.items()}
        self._rng = random.Random(seed)
        self._fleet, self._ledger = Fleet(sender), Ledger()
        self._plan: Plan | None = None

    def plan(self, plan: Plan) -> None:
        """Follow this plan; one of another model, or an older one, is ignored."""
        if plan.model == self.model and (self._plan is None or plan.version >= self._plan.version):
            self._plan = plan
            self._fleet.changes += 1
            self._fleet.keep({name for owners in plan.owners.values() for name in owners})

    def forecast(self, forecast: Forecast) -> None:
        """Expect this of the model's classes and workers from now on."""
        if forecast.model == self.model:
            self._fleet.speeds(forecast.speeds)
            for lane in self._lanes.values():
                lane.forecast = forecast.classes.get(lane.prompt_class, lane.forecast)

    def loads(self, loads: Sequence[Load], at_ms: int) -> None:
        """What the workers hold, as it is known at `at_ms`, in the loads' own time."""
        self._fleet.loads(loads, at_ms)

    def of(self, stage: str) -> StagePlacing:
        """The `Placing` of one stage."""
        return StagePlacing(self, stage)

    def work(self) -> dict[str, int]:
        """Worker -> the tokens that this sender's calls hold there."""
        return {worker.name: worker.own for worker in self._fleet.workers.values() if worker.own_calls}

    def place(self, ask: Ask) -> Placed:
        """The partition of an attempt; it holds its worker until it is over, or another attempt takes its place."""
        lane, fleet = self._lanes[ask.stage], self._fleet
        at_ms = fleet.now(ask.at_ms)
        if lane.made != fleet.changes:
            self._own(lane)
        cost = _cost(lane, ask.call, ask.written)
        choice = self.policy.choose(
            Candidates(
                lane.prompt_class,
                ask.request,
                ask.path,
                at_ms,
                lane.partitions,
                lane.turn,
                lane.owners,
                lane.shares,
                lane.live,
                lane.planned,
                fleet.busy,
                cost,
                self._rng,
            )
        )
        owner = choice.owner or lane.by_partition[choice.partition]
        partition = choice.partition if choice.owner is None else next(owner.turn)
        tokens = round(cost.work(owner.worker.is_warm(lane.prompt_class, at_ms)))
        receipt = self._receipt(lane, ask, at_ms, choice, owner.worker, tokens)
        self._ledger.hold(ask.request, ask.stage, ask.path, owner.worker, tokens)
        owner.worker.sent[lane.prompt_class] = at_ms
        self.decisions += 1
        self.blind += not (lane.live or self.policy.blind)
        return Placed(partition, receipt)

    def over(self, request: str, path: str, stage: str | None = None) -> None:
        """The call at this path, of the stage or of all, holds its worker no longer. It may be told again."""
        self._ledger.over(request, path, stage)

    def forget(self, request: str, stage: str | None = None) -> None:
        """All calls of the request, of the stage or of all, hold their workers no longer."""
        self._ledger.forget(request, stage)

    def _receipt(self, lane: _Lane, ask: Ask, at_ms: int, choice: Choice, worker: Worker, tokens: int) -> Receipt:
        looked = [
            Candidate(o.worker.name, o.worker.theirs + o.worker.own, o.worker.is_warm(lane.prompt_class, at_ms))
            for o in choice.looked
            if o.worker.name
        ]
        return Receipt(
            self.policy.name,
            choice.reason,
            self.sender,
            worker.name,
            tokens,
            self._plan.version if self._plan else 0,
            lane.live,
            max(0, at_ms - worker.load_ms) if worker.live else None,
            latest_start(ask.deadline_ms, lane.forecast),
            looked,
        )

    def _own(self, lane: _Lane) -> None:
        """Who owns the partitions of a class: as the workers themselves say, else as planned, else nobody known."""
        told = _told(lane, self._fleet.workers.values())
        planned = self._plan.owners.get(lane.prompt_class, []) if self._plan else []
        names = told or dict(enumerate(planned[: lane.partitions]))
        workers = {name: self._fleet.get(name) for name in names.values() if name}
        lane.live = any(worker.live for worker in workers.values())
        if lane.live:  # whoever is silent may be gone: its partitions will have another owner soon
            names = {partition: name for partition, name in names.items() if name and workers[name].live}
        weights = self._plan.weights.get(lane.prompt_class, {}) if self._plan else {}
        taken: dict[str, list[int]] = {}
        for partition, name in names.items():
            if name:
                taken.setdefault(name, []).append(partition)
        lane.owners = [
            Owner(workers[name], _turns(mine), max(0.0, weights.get(name, 0.0))) for name, mine in taken.items()
        ]
        lane.planned = bool(lane.owners) and bool(planned)
        owner_of = {p: o for o in lane.owners for p in taken[o.worker.name]}
        lane.by_partition = [owner_of.get(p) or Owner(Worker(""), _turns([p])) for p in range(lane.partitions)]
        if not lane.owners:
            lane.owners = lane.by_partition
        lane.shares = [owner for owner in lane.owners if owner.weight > 0]
        if not lane.shares:  # the plan is new and not carried out yet, or there is none
            for owner in lane.owners:
                owner.weight = owner.worker.speed
            lane.shares = lane.owners
        lane.made = self._fleet.changes


class StagePlacing:
    """Where the work items of one stage go."""

    def __init__(self, dispatcher: Dispatcher, stage: str) -> None:
        self._dispatcher, self._stage = dispatcher, stage

    def place(self, ask: Ask) -> Placed:
        return self._dispatcher.place(ask)

    def over(self, request: str, path: str) -> None:
        """The call at this path holds its worker no longer."""
        self._dispatcher.over(request, path, self._stage)

    def forget(self, request: str) -> None:
        """Nor do all calls of the request."""
        self._dispatcher.forget(request, self._stage)


def _told(lane: _Lane, workers: Iterable[Worker]) -> dict[int, str]:
    """Partition -> its worker, as live workers say; the one that said so last if there are two."""
    said = sorted((worker for worker in workers if worker.live), key=lambda worker: worker.load_ms)
    partitions = range(lane.partitions)
    return {p: worker.name for worker in said for p in worker.owned.get(lane.prompt_class, ()) if p in partitions}


def _turns(partitions: Sequence[int]) -> Iterator[int]:
    """These partitions in turn."""
    return (partitions[at] for at in in_turn(len(partitions)))


def _cost(lane: _Lane, call: Call, written: int) -> Cost:
    """What a call is expected to take. Its prompt has as many tokens a character as its class's have in the mean."""
    characters = sum(len(message.content) for message in call.messages)
    lane.characters += (LEARN if lane.characters else 1.0) * (characters - lane.characters)
    expected, output, prefix, ratio = lane.forecast, OUTPUT_TOKENS, 0.0, 1 / CHARACTERS
    if expected is not None:
        output, prefix = expected.output_tokens, expected.prefix_tokens
        if expected.prompt_tokens > 0 and lane.characters > 0:
            ratio = expected.prompt_tokens / lane.characters
    left = max(output - written / CHARACTERS, LEAST_REST * output)
    return Cost(min(left, call.max_tokens), (characters + written) * ratio, prefix)
