"""Where the shells touch the world outside the log: the clock, identities, and the jitter of their waits."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator
from typing import Any

from alto_streams import parts
from alto_streams.agents.home import admitting as requests
from alto_streams.agents.home import agent as stage
from alto_streams.agents.home import maps, timers
from alto_streams.agents.lm import agent as lm
from alto_streams.agents.lm import control
from alto_streams.agents.lm import run as lm_run
from alto_streams.tables import store
from tests.simulation.loop import Scheduler

CLOCKS = (control, lm, lm_run, requests, stage, timers)
IDENTITIES = (lm_run, maps)
log = logging.getLogger("alto_streams")


class _Identity:
    def __init__(self, hex_: str) -> None:
        self.hex = hex_


class _Identities:
    """Stands in for the module `uuid`: its ids replay with the seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def uuid4(self) -> _Identity:
        return _Identity(f"{self._rng.getrandbits(64):016x}")


@contextlib.contextmanager
def in_virtual_time(scheduler: Scheduler) -> Iterator[None]:
    """Within it the shells see virtual time, and all that is random comes from the scheduler's seed."""
    identities = _Identities(scheduler.rng)
    changes: list[tuple[Any, str, Any]] = [
        *((module, "time", scheduler) for module in CLOCKS),
        *((module, "uuid", identities) for module in IDENTITIES),
        (parts, "random", scheduler.rng),
        (lm, "random", scheduler.rng),
        (store, "_Changelog", lambda *_, **__: None),  # Faust's part of the table: `workers` does what it would do
    ]
    saved = [(module, name, getattr(module, name)) for module, name, _ in changes]
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # what the shells warn of is what is being played
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        log.setLevel(level)
        for module, name, value in saved:
            setattr(module, name, value)
