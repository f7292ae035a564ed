"""A scope is complete exactly when a slow oracle says so: depth up to 5, any order, repetitions, withdrawals, cuts."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alto_streams.wire.paths import Level, Scope, Stream
from tests.properties import scope_model
from tests.properties.scope_model import ScopeWorld, Violation, grow

SEEDS = 3_000
UNTIL_CAUGHT = 20_000
PICK = st.integers(0, 1_000)


class Scopes(RuleBasedStateMachine):
    """Tells one history in an order of Hypothesis's choosing; every step is checked as it is taken."""

    @initialize(rng=st.randoms(use_true_random=False))
    def begin(self, rng: random.Random) -> None:
        self.history = grow(rng)
        self.world, self.untold = ScopeWorld(self.history), list(self.history.facts)

    @precondition(lambda self: self.untold)
    @rule(pick=PICK)
    def tell(self, pick: int) -> None:
        self.world.tell(self.untold.pop(pick % len(self.untold)))

    @precondition(lambda self: self.untold)
    @rule()
    def tell_the_next(self) -> None:
        self.world.tell(self.untold.pop(0))

    @precondition(lambda self: self.history.facts)
    @rule(pick=PICK)
    def tell_again_or_early(self, pick: int) -> None:
        self.world.tell(self.history.facts[pick % len(self.history.facts)])

    @rule()
    def forget(self) -> None:
        self.world.forget()

    @invariant()
    def completion_is_what_the_oracle_says(self) -> None:
        assert self.world.scope.complete == self.world.oracle.is_complete(self.history.root)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            for fact in self.untold:
                self.world.tell(fact)
            self.world.check_end()


Scopes.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestScopes = Scopes.TestCase


def run_all(seeds: int) -> None:
    for seed in range(seeds):
        try:
            scope_model.run(seed)
        except Violation as wrong:
            wrong.add_note(f"scopes, seed {seed}")
            raise


def test_seeded_interleavings() -> None:
    run_all(SEEDS)


Patch = Callable[[pytest.MonkeyPatch], None]


def reopened_stream_keeps_its_count(patch: pytest.MonkeyPatch) -> None:
    true = Stream.withdraw

    def withdraw(self: Stream, first: int, epoch: int) -> None:
        count = self.count
        true(self, first, epoch)
        self.count = count

    patch.setattr(Stream, "withdraw", withdraw)


def withdrawal_takes_every_epoch(patch: pytest.MonkeyPatch) -> None:
    def withdraw(self: Stream, first: int, epoch: int) -> None:
        self.done = {nth for nth in self.done if nth < first}
        self.count = self.count if self.epoch >= epoch else None

    patch.setattr(Stream, "withdraw", withdraw)


def withdrawal_takes_earlier_siblings(patch: pytest.MonkeyPatch) -> None:
    true = Stream.withdraw
    patch.setattr(Stream, "withdraw", lambda self, first, epoch: true(self, 0, epoch))


def withdrawn_streams_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scope, "_drop_below", lambda self, is_gone: None)


def a_scope_never_reopens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scope, "_unsettle", lambda self, stream: None)


def the_epoch_of_a_child_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    true = Stream.account
    patch.setattr(Stream, "account", lambda self, level: true(self, Level(0, level.nth)))


def children_are_counted(patch: pytest.MonkeyPatch) -> None:
    complete = property(lambda self: self.count is not None and len(self.done) >= self.count)
    patch.setattr(Stream, "complete", complete)


def completion_goes_up_one_level(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Scope, stream: str) -> bool:
        if self._at(stream).complete and stream != self.path:
            parent, level = _split(stream)
            self._at(parent).account(level)
            stream = parent
        first = self._at(self.path).complete and not self.complete
        self.complete = self.complete or first
        return first

    patch.setattr(Scope, "_settle", settle)


def completes_more_than_once(patch: pytest.MonkeyPatch) -> None:
    true = Scope._settle
    patch.setattr(Scope, "_settle", lambda self, stream: true(self, stream) or self.complete)


def closed_above_asks_one_stream(patch: pytest.MonkeyPatch) -> None:
    def is_closed_above(self: Scope, leaf: str) -> bool:
        found = self.streams.get(_split(leaf)[0])
        return found is not None and found.count is not None

    patch.setattr(Scope, "is_closed_above", is_closed_above)


def _split(child: str) -> tuple[str, Level]:
    """The stream of a child, and its level there."""
    stream, _, last = child.rpartition("/")
    nth, _, epoch = last.partition("~")
    return stream, Level(int(epoch or 0), int(nth))


@pytest.mark.parametrize(
    "mutant",
    [
        reopened_stream_keeps_its_count,
        withdrawal_takes_every_epoch,
        withdrawal_takes_earlier_siblings,
        withdrawn_streams_are_kept,
        a_scope_never_reopens,
        the_epoch_of_a_child_is_forgotten,
        children_are_counted,
        completion_goes_up_one_level,
        completes_more_than_once,
        closed_above_asks_one_stream,
    ],
)
def test_a_rule_left_out_is_noticed(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(Violation):
        run_all(UNTIL_CAUGHT)
