"""What may go wrong in a world: how much of it, how likely where it could strike, and how time passes."""

from __future__ import annotations

from dataclasses import dataclass, field


class Violation(AssertionError):
    """Something that must never happen has; the seed replays it."""


# Struck by the world, at moments of its own choosing.
DISTURBANCES = ("stage death", "lm death", "stage zombie", "lm zombie", "rebalance", "newcomer", "jump")
# Struck where they could happen, each with this probability.
CHANCE = {
    "duplicate": 0.05,
    "twice": 0.15,
    "hole": 0.03,
    "tail lost": 0.05,
    "map lost": 0.1,
    "send failure": 0.01,
    "slow partition": 0.1,
    "late retract": 0.5,
    "engine error": 0.1,
    "engine away": 0.3,
}


@dataclass(frozen=True)
class Faults:
    """How many of each fault one world has at most.

    `every_steps`: between two disturbances, on average. `time_first`: how likely it is that time passes while somebody
    who was killed or stopped has not come back. `pace_s`: between two pieces of an engine. `pauses`: stage workers
    stop for a while without losing their membership. `aftermath`: what was said is said again once all is over.
    `speaks`: no run that begins anew says nothing at all.
    """

    budget: dict[str, int] = field(default_factory=dict)
    every_steps: int = 120
    time_first: float = 0.0
    pace_s: float = 0.0
    pauses: int = 0
    aftermath: bool = False
    speaks: bool = False


NONE = Faults()
# Whatever dies here is noticed without the clock: by a second start, a hole or a new owner. No item is dispatched
# twice: where a worker holds one of the two and the home follows the other one's run, whose worker dies, only a silence
# tells.
CALM = Faults({"stage death": 3, "lm death": 4, "rebalance": 2, "hole": 2, "engine error": 3})
WILD = Faults(
    {
        "stage death": 6,
        "lm death": 4,
        "stage zombie": 4,
        "lm zombie": 2,
        "rebalance": 4,
        "newcomer": 2,
        "jump": 4,
        "duplicate": 20,
        "twice": 5,
        "hole": 3,
        "tail lost": 1,
        "map lost": 2,
        "send failure": 3,
        "slow partition": 6,
        "engine error": 4,
        "engine away": 2,
    },
    every_steps=80,
    time_first=0.3,
    aftermath=True,
)
# Owners of partitions change all the time, and the old ones go on for a while.
RESTLESS = Faults(
    {"stage death": 10, "stage zombie": 20, "rebalance": 10, "newcomer": 4}, every_steps=30, time_first=0.1
)
# Nothing is lost and nobody dies, but everybody is slow: no attempt may be given up.
SLOW = Faults({"duplicate": 20}, every_steps=60, time_first=0.7, pace_s=20.0, pauses=6)
# Calls begin anew, and what replaces their children is seen before what withdraws them.
SKEWED = Faults(
    {"late retract": 60, "slow partition": 20, "engine error": 12, "lm death": 6, "duplicate": 10},
    every_steps=300,
    time_first=0.9,
    pace_s=0.5,
    speaks=True,
)
