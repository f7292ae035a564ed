"""Hundreds of random worlds: whatever dies, is late or is said twice, every client gets exactly its own answer.

`ALTO_SIM_SEED=…` replays one seed; `ALTO_SIM_SEEDS=…` runs that many of each kind.
"""

from __future__ import annotations

import os

import pytest

from alto_streams.records import Mode
from tests.simulation.checks import check
from tests.simulation.world import CALM, NONE, WILD, Faults, Violation, World

SEEDS = int(os.environ.get("ALTO_SIM_SEEDS", "300"))


def seeds() -> list[int]:
    chosen = os.environ.get("ALTO_SIM_SEED")
    return [int(chosen)] if chosen else list(range(SEEDS))


def play(seed: int, faults: Faults, *, mode: Mode = Mode.STREAM, cancels: bool = False) -> World:
    """Run one world to its end and check it; a violation names the seed that replays it."""
    world = World(seed, faults, mode=mode, cancels=cancels)
    may_be_cancelled = frozenset({world.cancelled} if world.cancelled else ())
    try:
        world.run()
        check(world, may_be_cancelled=may_be_cancelled)
    except Exception as error:
        raise Violation(f"ALTO_SIM_SEED={seed}: {error}") from error
    return world


@pytest.mark.parametrize("mode", list(Mode))
def test_undisturbed(mode: Mode) -> None:
    for seed in seeds():
        play(seed, NONE, mode=mode)


def test_deaths_are_noticed_without_waiting() -> None:
    for seed in seeds():
        world = play(seed, CALM)
        assert world.done_ms < world.started_ms + world.silence_ms, f"ALTO_SIM_SEED={seed}: waited for a silence"


@pytest.mark.parametrize("mode", list(Mode))
def test_everything_at_once(mode: Mode) -> None:
    for seed in seeds():
        play(seed, WILD, mode=mode)


def test_cancelled_in_the_middle() -> None:
    for seed in seeds():
        play(seed, WILD, cancels=True)
