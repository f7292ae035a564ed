"""Whole pipelines, of any shape: the end is told once, with exactly the right result, never early, stuck or stale."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alto_streams.tables.calls import Calls
from alto_streams.tables.joins import Joins
from alto_streams.tables.outputs import Outputs
from alto_streams.tables.requests import Requests
from alto_streams.tables.rows import CallState, Row
from alto_streams.tables.turns import Turn
from alto_streams.tables.withdrawals import Withdrawals
from alto_streams.wire.paths import Scope, Stream
from alto_streams.wire.records import Items, Status
from tests.properties import pipeline_oracle
from tests.properties.pipeline_oracle import check_done, settle
from tests.properties.pipeline_world import Faults, PipelineWorld
from tests.properties.random_pipelines import SHAPES, shape_of
from tests.properties.scope_model import Violation

SEEDS = 1_000
UNTIL_CAUGHT = 5_000
CHANCE = st.sampled_from((0.0, 0.1, 0.4))


class Pipelines(RuleBasedStateMachine):
    """Queues move in an order of Hypothesis's choosing; what is left of it when it stops happens at random."""

    @initialize(
        shape=st.integers(0, SHAPES - 1),
        seed=st.integers(0, 10**6),
        faults=st.builds(Faults, CHANCE, CHANCE, st.just(0.0), CHANCE, st.just(0.0)),
    )
    def begin(self, shape: int, seed: int, faults: Faults) -> None:
        self.rng = random.Random(seed)
        self.world, self.checked = PipelineWorld(shape_of(shape), self.rng, faults), False

    @precondition(lambda self: self.world.busy)
    @rule(picks=st.lists(st.integers(0, 99), min_size=1, max_size=6))
    def move(self, picks: list[int]) -> None:
        for pick in picks:
            if self.world.busy:
                self.world.step(pick)

    @rule(pick=st.integers(0, 99))
    def change_owner(self, pick: int) -> None:
        self.world.change_owner(pick)

    @rule(pick=st.integers(0, 99))
    def fire(self, pick: int) -> None:
        self.world.fire(pick)

    @rule(pick=st.integers(0, 99), child=st.integers(0, 3))
    def cancel(self, pick: int, child: int) -> None:
        self.world.cancel(pick, child)

    @invariant()
    def the_end_is_right(self) -> None:
        if hasattr(self, "world") and self.world.done and not self.checked:
            self.checked = True
            check_done(self.world)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            settle(self.world, self.rng)


Pipelines.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestPipelines = Pipelines.TestCase


def run_all(seeds: int) -> None:
    for seed in range(seeds):
        try:
            pipeline_oracle.run(seed)
        except Violation as wrong:
            wrong.add_note(f"pipelines, seed {seed}")
            raise


def test_seeded_interleavings() -> None:
    run_all(SEEDS)


Patch = Callable[[pytest.MonkeyPatch], None]


def early_gather(patch: pytest.MonkeyPatch) -> None:
    def completed(row: Row, name: str, path: str) -> bool:
        scope = row.scopes.get(name, {}).get(path)
        return scope is not None and any(stream.complete for stream in scope.streams.values())

    patch.setattr(Joins, "_completed", staticmethod(completed))


def closes_without_children(patch: pytest.MonkeyPatch) -> None:
    true = Scope.close
    patch.setattr(Scope, "close", lambda self, stream, count, epoch=0: true(self, stream, 0, epoch))


def closes_are_lost(patch: pytest.MonkeyPatch) -> None:
    true = Joins.absorb_items
    patch.setattr(Joins, "absorb_items", lambda self, row, items: items.close or true(self, row, items))


def a_failed_driver_is_silent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Joins, "driver_failure", lambda self, row, path: None)


def redone_without_an_epoch(patch: pytest.MonkeyPatch) -> None:
    true = Calls._take_back

    def take_back(self: Calls, turn: Turn, path: str, call: CallState) -> None:
        asked = list(turn.asked)
        true(self, turn, path, call)
        call.epoch, turn.asked = 0, asked

    patch.setattr(Calls, "_take_back", take_back)


def retractions_not_passed_on(patch: pytest.MonkeyPatch) -> None:
    true = Outputs.retract

    def retract(self: Outputs, turn: Turn, *args: Any) -> None:
        asked = len(turn.asked)
        true(self, turn, *args)
        del turn.asked[asked + 1 :]

    patch.setattr(Outputs, "retract", retract)


def the_dead_rise(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Withdrawals, "is_dead", lambda *args, **rest: False)


def what_was_cancelled_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scope, "cut_off", lambda self, child: False)


def children_are_numbered_anew(patch: pytest.MonkeyPatch) -> None:
    def items(*args: Any) -> Items:
        return Items(*(0 if n == 3 else each for n, each in enumerate(args)))

    patch.setattr("alto_streams.tables.outputs.Items", items)


def a_finished_request_rises(patch: pytest.MonkeyPatch) -> None:
    true = Requests.forget

    def forget(self: Requests, turn: Turn, status: Status) -> None:
        true(self, turn, status)
        turn.row.finished = None

    patch.setattr(Requests, "forget", forget)


def children_beyond_the_end_count(patch: pytest.MonkeyPatch) -> None:
    complete = property(lambda self: self.count is not None and len(self.done) >= self.count)
    patch.setattr(Stream, "complete", complete)


@pytest.mark.parametrize(
    "mutant",
    [
        early_gather,
        closes_without_children,
        closes_are_lost,
        a_failed_driver_is_silent,
        redone_without_an_epoch,
        retractions_not_passed_on,
        the_dead_rise,
        what_was_cancelled_is_waited_for,
        children_are_numbered_anew,
        a_finished_request_rises,
        children_beyond_the_end_count,
    ],
)
def test_a_rule_left_out_is_noticed(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(Violation):
        run_all(UNTIL_CAUGHT)
