"""What a sender knows of a model's workers: their last loads, their speeds, and its own calls that are not over. Pure.

A worker's outstanding work is what other senders' calls hold of it, by its last `Load`, and this sender's own, by the
ledger: that one is never late. A load older than `STALE_MS` counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alto_streams.wire.plans import Load

STALE_MS = 2_000
SENT_MS = 10_000  # without a load, a class counts as warm for so long after a call of it was sent


@dataclass(slots=True, eq=False)
class Worker:
    """One worker. `theirs`, `own`: tokens of other senders' calls and of this one's; `their_calls`, `own_calls` alike.

    `sent`: prompt class -> when this sender last sent a call of it. `load_ms` is by the worker's clock, `heard_ms` by
    ours, and `apart_ms` what lies between the two, the way included.
    """

    name: str
    speed: float = 1.0
    live: bool = False
    load_ms: int = -1
    theirs: int = 0
    their_calls: int = 0
    own: int = 0
    own_calls: int = 0
    warm: Sequence[str] = ()
    owned: Mapping[str, list[int]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    heard_ms: int = -1
    apart_ms: int | None = None

    def heard(self, load_ms: int, at_ms: int) -> None:
        """A load of then is read now. What is new is about as old as it is at least: clocks that are apart shall not
        make a worker silent. The first that is ever read may be what a dead one left, so its own time counts.
        """
        if load_ms > self.load_ms >= 0:
            apart_ms = at_ms - load_ms
            self.apart_ms = apart_ms if self.apart_ms is None else min(self.apart_ms, apart_ms)
        if load_ms != self.load_ms:
            self.heard_ms = min(load_ms + (self.apart_ms or 0), at_ms)

    def is_warm(self, prompt_class: str, at_ms: int) -> bool:
        """Whether its engine has the class's prefix: as it says, or since a call of it went there after it said so."""
        if self.live and prompt_class in self.warm:
            return True
        sent_ms = self.sent.get(prompt_class)
        return sent_ms is not None and sent_ms >= (self.load_ms if self.live else at_ms - SENT_MS)


class Ledger:
    """The calls of this sender that are not over, and where they are. (stage, path) names one within its request."""

    def __init__(self) -> None:
        self._held: dict[str, dict[tuple[str, str], tuple[Worker, int]]] = {}

    def hold(self, request: str, stage: str, path: str, worker: Worker, tokens: int) -> None:
        """A call's attempt has been sent; it replaces the one before."""
        calls = self._held.setdefault(request, {})
        _release(calls.pop((stage, path), None))
        calls[stage, path] = worker, tokens
        worker.own += tokens
        worker.own_calls += 1

    def over(self, request: str, path: str, stage: str | None) -> None:
        """A call has ended: of this stage, or of every one."""
        calls = self._held.get(request)
        if calls is None:
            return
        for key in [(stage, path)] if stage is not None else [key for key in calls if key[1] == path]:
            _release(calls.pop(key, None))
        if not calls:
            del self._held[request]

    def forget(self, request: str, stage: str | None) -> None:
        """So have all calls of the request, at this stage or at every one."""
        calls = self._held.get(request, {})
        for key in [key for key in calls if stage is None or key[0] == stage]:
            _release(calls.pop(key))
        if not calls:
            self._held.pop(request, None)


class Fleet:
    """All workers of one model that this sender has heard of. `changes` counts what may change who owns what."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self.workers: dict[str, Worker] = {}
        self.changes = 0
        self._speeds: Mapping[str, float] = {}
        self._told_ms = 0
        self._fresh_until = 0

    def get(self, name: str) -> Worker:
        """The worker of this name, which may be new."""
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = Worker(name, self._speeds.get(name, 1.0))
        return worker

    def speeds(self, speeds: Mapping[str, float]) -> None:
        """How fast they are; 1.0 is their mean, and what is expected of a new one."""
        self._speeds = {name: speed for name, speed in speeds.items() if speed > 0}
        for worker in self.workers.values():
            worker.speed = self._speeds.get(worker.name, 1.0)

    def loads(self, loads: Iterable[Load], at_ms: int) -> None:
        """All workers' loads as they are known at `at_ms`; one that is missing keeps its last until it is stale."""
        self._told_ms = max(self._told_ms, at_ms)
        for load in loads:
            worker = self.get(load.worker)
            if load.at_ms < worker.load_ms:
                continue
            worker.heard(load.at_ms, at_ms)
            others = sum(load.work.values()) - load.work.get(self._sender, 0)
            # The load counts calls of all senders, so this one's are taken out as they stand now.
            calls = load.running + load.waiting - worker.own_calls
            worker.theirs, worker.their_calls = max(0, others), max(0, calls)
            worker.load_ms, worker.warm = load.at_ms, load.warm
            if worker.owned != load.owned:
                worker.owned = load.owned
                self.changes += 1
        self._look(self._told_ms)

    def now(self, at_ms: int) -> int:
        """The time of a decision: loads may be ahead of the log. Loads that are too old by then count no more."""
        at_ms = max(at_ms, self._told_ms)
        if at_ms > self._fresh_until:
            self._look(at_ms)
        return at_ms

    def busy(self) -> float:
        """The mean of the live workers' outstanding work over their speed, in tokens."""
        total, live = 0.0, 0
        for worker in self.workers.values():
            if worker.live:
                total += (worker.theirs + worker.own) / worker.speed
                live += 1
        return total / live if live else 0.0

    def keep(self, names: set[str]) -> None:
        """Forget whoever is not named here, says nothing, and holds no call."""
        for name in [n for n, w in self.workers.items() if not (n in names or w.live or w.own_calls)]:
            del self.workers[name]

    def _look(self, at_ms: int) -> None:
        """Which loads still count at `at_ms`, and until when that does not change."""
        until = at_ms + STALE_MS
        for worker in self.workers.values():
            live = worker.heard_ms >= 0 and at_ms - worker.heard_ms <= STALE_MS
            if live:
                until = min(until, worker.heard_ms + STALE_MS)
            else:
                worker.theirs = worker.their_calls = 0
            if live != worker.live:
                worker.live = live
                self.changes += 1
        self._fresh_until = until


def _release(held: tuple[Worker, int] | None) -> None:
    if held is not None:
        worker, tokens = held
        worker.own -= tokens
        worker.own_calls -= 1
