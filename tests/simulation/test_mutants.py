"""The simulation is only worth what it finds: each rule left out is noticed within some hundred seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alto_streams.ancestry import Scope, parse_path, wire_path
from alto_streams.records import Chunk, Start, Work
from alto_streams.tables import attempts, joins, machine, prompts
from alto_streams.tables.attempts import Ruling
from alto_streams.tables.rows import CallState, Row
from tests.simulation.checks import check
from tests.simulation.world import CALM, WILD, Faults, World

SEEDS = 400

Patch = Callable[[pytest.MonkeyPatch], None]


def is_caught(faults: Faults, mutants: frozenset[str] = frozenset()) -> bool:
    """Whether some seed shows a violation, an exception, or (without a cause for it) a wait for a silence."""
    for seed in range(SEEDS):
        world = World(seed, faults, mutants=mutants)
        try:
            world.run()
            check(world)
        except Exception:
            return True
        if faults is CALM and world.done_ms >= world.started_ms + world.silence_ms:
            return True
    return False


@pytest.mark.parametrize("rule", ["redelivered applied again", "outbox not sent again", "outbox replaced"])
def test_the_order_of_work(rule: str) -> None:
    assert is_caught(WILD, frozenset({rule}))


def second_start_ignored(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_start

    def rule(call: CallState | None, start: Start) -> Ruling:
        ruling = true(call, start)
        return Ruling.IGNORE if call is not None and call.run is not None and ruling is not Ruling.ABORT else ruling

    patch.setattr(machine, "rule_start", rule)


def second_start_followed_after_text(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_start
    patch.setattr(machine, "rule_start", lambda c, s: Ruling.FOLLOW if true(c, s) is Ruling.RETRY else true(c, s))


def runs_mixed(patch: pytest.MonkeyPatch) -> None:
    def rule(call: CallState | None, chunk: Chunk) -> Ruling:
        ours = call is not None and not call.closed and call.seq == chunk.seq and call.attempt == chunk.attempt
        return Ruling.ACCEPT if ours else Ruling.IGNORE

    patch.setattr(machine, "rule_chunk", rule)


def holes_skipped(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_chunk
    patch.setattr(machine, "rule_chunk", lambda c, k: Ruling.IGNORE if true(c, k) is Ruling.RETRY else true(c, k))


def older_attempts_accepted(patch: pytest.MonkeyPatch) -> None:
    def rule(call: CallState | None, chunk: Chunk) -> Ruling:
        return Ruling.IGNORE if call is None or call.closed or chunk.seq < call.seq else Ruling.ACCEPT

    patch.setattr(machine, "rule_chunk", rule)


def prefix_off_by_one(patch: pytest.MonkeyPatch) -> None:
    def work(*args: Any, **rest: Any) -> Work:
        return Work(*args, **rest | {"prefix": rest["prefix"][:-1]})

    patch.setattr(prompts, "Work", work)


def numbering_begins_anew(patch: pytest.MonkeyPatch) -> None:
    true = attempts.next_attempt

    def next_attempt(call: CallState) -> None:
        true(call)
        call.shown = 0

    patch.setattr(attempts, "next_attempt", next_attempt)


def closes_counted_twice(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Scope, stream: str) -> bool:
        while self._at(stream).complete:
            if stream == self.path:
                self.complete = True
                return True
            stream = wire_path(parse_path(stream)[:-1])
            done = self._at(stream).done
            done.add(len(done))
        return False

    patch.setattr(Scope, "_settle", settle)


def closes_ignore_children(patch: pytest.MonkeyPatch) -> None:
    true = Scope.close
    patch.setattr(Scope, "close", lambda self, stream, count: true(self, stream, 0))


def finished_rows_rise(patch: pytest.MonkeyPatch) -> None:
    true = machine.StageMachine._forget

    def forget(self: machine.StageMachine, row: Row, *rest: object) -> list[object]:
        true(self, row, *rest)  # type: ignore[arg-type]
        row.finished = None
        return []

    patch.setattr(machine.StageMachine, "_forget", forget)


def failed_driver_is_silent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(joins.Joins, "driver_failure", lambda self, row, path: None)


def early_gather(patch: pytest.MonkeyPatch) -> None:
    true = joins.Joins.is_ready

    def is_ready(self: joins.Joins, row: Row, path: str) -> bool:
        for scopes in row.scopes.values():
            for scope in scopes.values():
                scope.complete = scope.complete or any(s.complete for s in scope.streams.values())
        return true(self, row, path)

    patch.setattr(joins.Joins, "is_ready", is_ready)


@pytest.mark.parametrize(
    ("mutant", "faults"),
    [
        (second_start_ignored, CALM),
        (second_start_followed_after_text, CALM),
        (runs_mixed, WILD),
        (holes_skipped, CALM),
        (older_attempts_accepted, WILD),
        (prefix_off_by_one, CALM),
        (numbering_begins_anew, CALM),
        (closes_counted_twice, WILD),
        (closes_ignore_children, CALM),
        (finished_rows_rise, CALM),
        (failed_driver_is_silent, CALM),
        (early_gather, CALM),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_rule_left_out_is_noticed(mutant: Patch, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert is_caught(faults)


def test_a_seed_replays_its_violation() -> None:
    def outcome(seed: int) -> str:
        world = World(seed, WILD, mutants=frozenset({"outbox not sent again"}))
        try:
            world.run()
            check(world)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    seed = next(seed for seed in range(SEEDS) if outcome(seed))
    assert outcome(seed) == outcome(seed)
