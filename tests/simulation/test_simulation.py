"""Random worlds: whatever dies, is late or is said twice, every client gets exactly its own answer.

`ALTO_SIM_SEED=…` replays one seed; `ALTO_SIM_SEEDS=…` runs that many of each kind.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.play import KINDS, play
from tests.simulation.world import World

SEEDS = int(os.environ.get("ALTO_SIM_SEEDS", "45"))
ROOT = Path(__file__).resolve().parents[2]


def seeds() -> list[int]:
    chosen = os.environ.get("ALTO_SIM_SEED")
    return [int(chosen)] if chosen else list(range(SEEDS))


@pytest.mark.timeout(0 if SEEDS > 1_000 else 600)
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_happens(kind: str) -> None:
    for seed in seeds():
        play(kind, seed)


def digest(world: World) -> str:
    """All that was ever said in a world."""
    said = hashlib.sha256()
    for topic in world.log.topics():
        for each in world.log.all_of(topic):
            # What rows look like in bytes depends on the order of sets, and means nothing.
            value = each.value is None if topic.endswith("changelog") else each.value
            said.update(repr((topic, each.offset, each.at_ms, each.key, value)).encode())
    return said.hexdigest()


REPLAY = "import sys; from tests.simulation.test_simulation import *; print(digest(play('wild', int(sys.argv[1]))))"


def test_a_seed_replays_in_another_process() -> None:
    """The order of a set of strings differs there; nothing that is said may depend on it."""

    def replayed(hash_seed: str) -> str:
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", REPLAY, "3"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert replayed("1") == replayed("2") == digest(play("wild", 3))
