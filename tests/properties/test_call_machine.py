"""Accepted text is one chain, whatever runs write: never mixed, never undone, never stuck; attempts are bounded."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alto_streams.tables import attempts, calls, machine, prompts
from alto_streams.tables.attempts import Act, Ruling
from alto_streams.tables.calls import Calls
from alto_streams.tables.rows import Arm, CallState
from alto_streams.tables.turns import Turn
from alto_streams.wire.records import Chunk, Start, Timer, Work
from tests.properties import call_model
from tests.properties.call_model import CallWorld
from tests.properties.call_runs import KINDS, Kind
from tests.properties.scope_model import Violation

SEEDS = 3_000
UNTIL_CAUGHT = 10_000
PICK = st.integers(0, 999)


class AnyCall(RuleBasedStateMachine):
    """Moves in an order of Hypothesis's choosing; the world checks every record, and at the end that it does end."""

    @initialize(
        kind=st.sampled_from(KINDS), rng=st.randoms(use_true_random=False), max_attempts=st.sampled_from((1, 2, 3, 6))
    )
    def begin(self, kind: Kind, rng: random.Random, max_attempts: int) -> None:
        self.world = CallWorld(kind, rng, max_attempts=max_attempts)

    @rule(pick=PICK)
    def deliver(self, pick: int) -> None:
        self.world.deliver(pick)

    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def say(self, picks: list[int]) -> None:
        for pick in picks:
            self.world.say(pick)

    @rule(pick=PICK)
    def lose(self, pick: int) -> None:
        self.world.lose(pick)

    @rule(pick=PICK)
    def die(self, pick: int) -> None:
        self.world.die(pick)

    @rule(pick=PICK)
    def repeat(self, pick: int) -> None:
        self.world.repeat(pick)

    @rule(pick=PICK)
    def fire(self, pick: int) -> None:
        self.world.fire(pick)

    @rule()
    def change_owner(self) -> None:
        self.world.change_owner()

    @invariant()
    def it_goes_on(self) -> None:
        self.world.check_goes_on()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()


AnyCall.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAnyCall = AnyCall.TestCase


def run_all(seeds: int) -> None:
    for seed in range(seeds):
        try:
            call_model.run(seed)
        except Violation as wrong:
            wrong.add_note(f"calls, seed {seed}")
            raise


def test_seeded_interleavings() -> None:
    run_all(SEEDS)


Patch = Callable[[pytest.MonkeyPatch], None]


def second_start_ignored(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_start
    patch.setattr(machine, "rule_start", lambda c, s: Ruling(Act.IGNORE) if c.run and not c.closed else true(c, s))


def second_start_followed_after_text(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_start
    patch.setattr(machine, "rule_start", lambda c, s: Ruling(Act.FOLLOW) if true(c, s).act is Act.RETRY else true(c, s))


def old_starts_followed(patch: pytest.MonkeyPatch) -> None:
    def rule_start(call: CallState | None, start: Start) -> Ruling:
        if call is None or call.closed:
            return Ruling(Act.ABORT)
        return Ruling(Act.FOLLOW) if call.run is None else attempts.rule_start(call, start)

    patch.setattr(machine, "rule_start", rule_start)


def starts_without_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "MAX_STARTS", 1_000)


def runs_mixed(patch: pytest.MonkeyPatch) -> None:
    def rule_chunk(call: CallState | None, chunk: Chunk) -> Ruling:
        ours = call is not None and not call.closed and (call.seq, call.attempt) == (chunk.seq, chunk.attempt)
        return Ruling(Act.ACCEPT) if ours else Ruling(Act.IGNORE)

    patch.setattr(machine, "rule_chunk", rule_chunk)


def holes_skipped(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_chunk
    patch.setattr(machine, "rule_chunk", lambda c, k: Ruling(Act.ACCEPT) if true(c, k).act is Act.RETRY else true(c, k))


def chunks_applied_twice(patch: pytest.MonkeyPatch) -> None:
    def rule_chunk(call: CallState | None, chunk: Chunk) -> Ruling:
        if call is None or call.closed or (chunk.attempt, chunk.run) != (call.attempt, call.run):
            return Ruling(Act.IGNORE)
        return Ruling(Act.RETRY) if chunk.seq > call.seq else Ruling(Act.ACCEPT)

    patch.setattr(machine, "rule_chunk", rule_chunk)


def closed_calls_accept(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_result
    patch.setattr(machine, "rule_result", lambda c, r: Ruling(Act.ACCEPT) if c is not None and c.closed else true(c, r))


def timers_do_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "rule_timer", lambda call, timer: Ruling(Act.IGNORE))


def stale_timers_obeyed(patch: pytest.MonkeyPatch) -> None:
    def rule_timer(call: CallState | None, timer: Timer) -> Ruling:
        return Ruling(Act.IGNORE) if call is None else Ruling(Act.RETRY)

    patch.setattr(machine, "rule_timer", rule_timer)


def timers_not_armed_anew(patch: pytest.MonkeyPatch) -> None:
    true = Calls.chunk

    def chunk(self: Calls, turn: Turn, chunk: Chunk) -> None:
        true(self, turn, chunk)
        turn.asked = [each for each in turn.asked if not isinstance(each, Arm)]

    patch.setattr(Calls, "chunk", chunk)


def new_owners_arm_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Calls, "resume", lambda *args: None)


def prefix_off_by_one(patch: pytest.MonkeyPatch) -> None:
    def work(*args: Any, **rest: Any) -> Work:
        return Work(*args, **rest | {"prefix": rest["prefix"][:-1]})

    patch.setattr(prompts, "Work", work)


def attempts_without_bound(patch: pytest.MonkeyPatch) -> None:
    true = Calls.__init__

    def init(self: Calls, *args: Any) -> None:
        true(self, *args[:-1], calls.Limits(1_000, 1_000))

    patch.setattr(Calls, "__init__", init)


def redone_without_an_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Calls, "_take_back", lambda *args: None)


@pytest.mark.parametrize(
    "mutant",
    [
        second_start_ignored,
        second_start_followed_after_text,
        old_starts_followed,
        starts_without_bound,
        runs_mixed,
        holes_skipped,
        chunks_applied_twice,
        closed_calls_accept,
        timers_do_nothing,
        stale_timers_obeyed,
        timers_not_armed_anew,
        new_owners_arm_nothing,
        prefix_off_by_one,
        attempts_without_bound,
        redone_without_an_epoch,
    ],
)
def test_a_rule_left_out_is_noticed(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(Violation):
        run_all(UNTIL_CAUGHT)
