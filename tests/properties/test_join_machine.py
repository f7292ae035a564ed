"""A gather says exactly what follows from all that it was told, at every moment: once, whole, and nothing stale."""

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
from alto_streams.tables.rows import Row
from alto_streams.tables.withdrawals import Cut, Withdrawals
from alto_streams.wire.paths import Scope
from alto_streams.wire.records import Items
from tests.properties import join_model
from tests.properties.join_model import Chain, JoinWorld
from tests.properties.scope_model import Violation

SEEDS = 1_000
UNTIL_CAUGHT = 10_000
PICK = st.integers(0, 999)


class Joined(RuleBasedStateMachine):
    """Merges what the homes say in an order of Hypothesis's choosing; every record is checked as it is told."""

    @initialize(rng=st.randoms(use_true_random=False))
    def begin(self, rng: random.Random) -> None:
        chain = Chain(rng)
        self.world, self.queues = JoinWorld(chain), [list(reversed(each)) for each in chain.records if each]

    @precondition(lambda self: self.queues)
    @rule(pick=PICK, count=st.integers(1, 5))
    def tell(self, pick: int, count: int) -> None:
        queue = self.queues[pick % len(self.queues)]
        for _ in range(min(count, len(queue))):
            self.world.tell(queue.pop())
        self.queues = [each for each in self.queues if each]

    @precondition(lambda self: self.world.said)
    @rule(pick=PICK)
    def tell_again(self, pick: int) -> None:
        self.world.again(pick)

    @rule()
    def forget(self) -> None:
        self.world.forget()

    @invariant()
    def nothing_dead_is_kept(self) -> None:
        self.world.check_kept()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            for queue in self.queues:
                while queue:
                    self.world.tell(queue.pop())
            self.world.check_end()


Joined.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestJoined = Joined.TestCase


def run_all(seeds: int) -> None:
    for seed in range(seeds):
        try:
            join_model.run(seed)
        except Violation as wrong:
            wrong.add_note(f"joins, seed {seed}")
            raise


def test_seeded_interleavings() -> None:
    run_all(SEEDS)


Patch = Callable[[pytest.MonkeyPatch], None]


def failures_outlive_their_stream(patch: pytest.MonkeyPatch) -> None:
    true = Joins.withdraw

    def withdraw(self: Joins, row: Row, cut: Cut) -> None:
        failures = dict(row.failures.get(cut.stage, {}))
        true(self, row, cut)
        if cut.stream in failures:
            row.failures[cut.stage][cut.stream] = failures[cut.stream]

    patch.setattr(Joins, "withdraw", withdraw)


def values_outlive_their_stream(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Withdrawals, "comes_through", lambda self, source, cut: False)


def paths_imply_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Withdrawals, "implied", lambda *args, **rest: [])


def death_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Withdrawals, "is_dead", lambda *args, **rest: False)


def old_closes_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Withdrawals, "is_outdated", lambda *args, **rest: False)


def withdrawals_take_the_index_alone(patch: pytest.MonkeyPatch) -> None:
    true = Withdrawals.learn
    patch.setattr(Withdrawals, "learn", lambda self, row, cut: true(self, row, cut._replace(first=cut.first + 1)))


def a_gather_is_not_taken_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Calls, "_take_back", lambda *args: None)


def what_began_is_not_held(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Joins, "has_gathered", lambda self, row, path: path in row.calls or _gathered(self, row, path))


_gathered = Joins.has_gathered


def retraction_not_cascaded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scope, "withdraw", lambda *args: False)


def early_gather(patch: pytest.MonkeyPatch) -> None:
    def completed(row: Row, name: str, path: str) -> bool:
        scope = row.scopes.get(name, {}).get(path)
        return scope is not None and any(stream.complete for stream in scope.streams.values())

    patch.setattr(Joins, "_completed", staticmethod(completed))


def others_items_are_gathered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("alto_streams.tables.joins.is_under", lambda path, scope: True)


def absorbs_only_the_first_child(patch: pytest.MonkeyPatch) -> None:
    true = Joins.absorb_items

    def absorb_items(self: Joins, row: Row, items: Items) -> Any:
        return None if items.children and items.first else true(self, row, items)

    patch.setattr(Joins, "absorb_items", absorb_items)


@pytest.mark.parametrize(
    "mutant",
    [
        failures_outlive_their_stream,
        values_outlive_their_stream,
        paths_imply_nothing,
        death_is_forgotten,
        old_closes_count,
        withdrawals_take_the_index_alone,
        a_gather_is_not_taken_back,
        what_began_is_not_held,
        retraction_not_cascaded,
        early_gather,
        others_items_are_gathered,
        absorbs_only_the_first_child,
    ],
)
def test_a_rule_left_out_is_noticed(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(Violation):
        run_all(UNTIL_CAUGHT)
