"""Whether a worker has stalled: nothing moves in it while records wait (pure).

Consumers stop over time, handlers hang, event loops are blocked, and none of that raises anything. A worker that has
come to a stop is better ended: its supervisor starts it again, and its partitions go to others meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

SAMPLES_A_WINDOW = 12


class Sample(NamedTuple):
    """What a worker looks like from outside at `at_s` (seconds on a monotonic clock).

    `moved`: numbers that change whenever it gets on: records finished, records recovered, the group's generation.
    `lag`: how many records of its partitions are not finished, 0 if it owns none; None if the broker does not say.
    `held`: how many it has been given and has not finished. `is_awake`: whether its event loop has answered since the
    last sample. `excuse`: what it says it waits for, if that is something that a restart cannot bring.
    """

    at_s: float
    moved: tuple[int, ...]
    lag: int | None
    held: int = 0
    is_awake: bool = True
    excuse: str | None = None


class Patience(NamedTuple):
    """`stalled`: why the worker has to end. `excused`: what it waits for, though records wait for it."""

    stalled: str | None = None
    excused: str | None = None


class Watchdog:
    """Takes samples in the order of their times; `patience_s`: how long nothing may move."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._last: Sample | None = None
        self._base_lag: int | None = None  # when something last moved
        self._waiting_since_s: float | None = None  # records have waited, and nothing has moved
        self._answered_at_s = 0.0  # the event loop

    @property
    def interval_s(self) -> float:
        """How long after a sample the next one is wanted."""
        return self._patience_s / SAMPLES_A_WINDOW

    def look(self, sample: Sample) -> Patience:
        """What the samples so far say of the worker."""
        last, self._last = self._last, sample
        # Whoever was away for so long saw nothing of what went on: the whole process may have been paused.
        was_away = last is not None and sample.at_s - last.at_s > self._patience_s / 2
        if last is None or was_away or sample.moved != last.moved or not sample.lag:
            self._begin(sample)
            return Patience(excused=sample.excuse if sample.lag is None else None)
        if sample.excuse is not None and sample.is_awake:  # a loop that is blocked waits for nothing
            self._begin(sample)
            return Patience(excused=sample.excuse)
        if self._waiting_since_s is None:
            self._waiting_since_s = sample.at_s
            self._base_lag = sample.lag if self._base_lag is None else self._base_lag
        if sample.is_awake:
            self._answered_at_s = sample.at_s
        for_s = sample.at_s - self._waiting_since_s
        # Some offsets carry no record (transaction markers), and look like a record that is never fetched. They wait
        # alone: no more come, none is held, the loop answers.
        is_real = sample.lag > (self._base_lag or 0) or sample.held > 0 or self._is_blocked(sample)
        if for_s < self._patience_s or not is_real:
            return Patience()
        return Patience(stalled=self._reason(sample, for_s))

    def _begin(self, sample: Sample) -> None:
        self._base_lag, self._waiting_since_s, self._answered_at_s = sample.lag, None, sample.at_s

    def _is_blocked(self, sample: Sample) -> bool:
        return sample.at_s - self._answered_at_s > self._patience_s / 2

    def _reason(self, sample: Sample, for_s: float) -> str:
        lag = f"{sample.lag} records wait" if sample.lag != 1 else "a record waits"
        grown = sample.lag - self._base_lag if sample.lag is not None and self._base_lag is not None else 0
        what = f", {grown} of them new" if grown > 0 else ""
        where = (
            f"{sample.held} were handed to it and are not finished" if sample.held else "it has fetched none of them"
        )
        state = "is blocked" if self._is_blocked(sample) else "answers"
        return f"nothing has moved for {for_s:.0f} s while {lag}{what}; {where}; its event loop {state}"
