"""Which engine takes a call: a policy, as a function of the call and of what each engine has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class EngineLoad:
    """The calls of one engine: those in its batch, and all that it was given and has not ended."""

    running: int = 0
    calls: int = 0


Place = Callable[[str, str, str, int, Sequence[EngineLoad]], int]
"""(stage, request, path, attempt, the engines' loads) -> the number of the engine that takes the call."""


def least_calls(stage: str, request: str, path: str, attempt: int, loads: Sequence[EngineLoad]) -> int:
    """The engine with the fewest calls, the first of several."""
    return min(range(len(loads)), key=lambda number: loads[number].calls)
