"""Homes of random pipelines decide by their log alone, through withdrawals, redone streams and cancelled items too.

The logs come from whole worlds with every fault; each home is then told its log again, alone.
"""

from __future__ import annotations

import random
from functools import lru_cache

from hypothesis import given
from hypothesis import strategies as st

from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Instruction, Row, decode_row, encode_row
from tests.placing import Always
from tests.properties.pipeline_oracle import settle
from tests.properties.pipeline_world import MAX_ATTEMPTS, Faults, Home, PipelineWorld
from tests.properties.random_pipelines import SHAPES, shape_of

WORLDS = 400


@lru_cache(maxsize=WORLDS)
def world(seed: int) -> PipelineWorld:
    """A world at rest in which streams break often and items are cancelled."""
    rng = random.Random(seed)
    made = PipelineWorld(shape_of(seed % SHAPES), rng, Faults(0.1, 0.05, 0.0, 0.4, 0.05, rng.choice((0.0, 0.05))))
    settle(made, rng)
    return made


@lru_cache
def homes(feature: str) -> list[tuple[int, str]]:
    """The homes, as (seed, stage), that were told of a withdrawal or of a cancelled item, or all of them."""
    return [
        (seed, home.stage)
        for seed in range(WORLDS)
        for home in world(seed).homes.values()
        if not feature or any(type(record).__name__ == feature for record, _ in home.told)
    ]


def replay(home: Home, seed: int, forget_after: set[int]) -> tuple[list[list[Instruction]], bytes]:
    """What a home asks for, record by record, and its row; after those in `forget_after` only that row is left."""

    def machine() -> StageMachine:
        return StageMachine(shape_of(seed % SHAPES).pipeline, home.stage, Always(), Limits(MAX_ATTEMPTS, 1_000))

    row, mind, asked = Row(), machine(), []
    for n, (record, at) in enumerate(home.told):
        asked.append(mind.apply(row, record, at).asked)
        if n in forget_after:
            stored = encode_row(row)
            row, mind = decode_row(stored), machine()
            assert encode_row(row) == stored
    return asked, encode_row(row)


def check(data: st.DataObject, feature: str) -> None:
    seed, stage = data.draw(st.sampled_from(homes(feature)))
    home = world(seed).homes[stage]
    every = set(range(len(home.told)))
    some = data.draw(st.sets(st.integers(0, max(0, len(every) - 1))))
    told = replay(home, seed, set())
    assert told == replay(home, seed, some)
    assert told == replay(home, seed, every)


@given(st.data())
def test_a_home_that_loses_its_memory_decides_the_same(data: st.DataObject) -> None:
    check(data, "")


@given(st.data())
def test_and_so_it_does_when_something_was_withdrawn(data: st.DataObject) -> None:
    check(data, "Retract")


@given(st.data())
def test_and_so_it_does_when_something_was_cancelled(data: st.DataObject) -> None:
    check(data, "Cancel")
