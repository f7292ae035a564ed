"""What an LM worker sees of its calls: counted as they come, run and end, and read out as `EngineReport` and `Load`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alto_streams.models.protocol import Piece, Usage
from alto_streams.wire.plans import OTHERS, PREFILL, ClassReport, EngineReport, Load, Pace
from alto_streams.wire.records import Work

WORK = 140  # tokens that a call takes of which nothing is known
SHARE = 0.1  # of a class's last call in what its next one is expected to take
WARM_MOST = 8
TOKENS_MOST = 10_000_000  # of a call: an engine that counts more is mistaken
SAMPLES_MOST = 2_000  # of a kind between two reports, far more than an engine makes in a second


@dataclass(slots=True, eq=False)
class Held:
    """A work item of this worker's, waiting or running: who sent it, and the tokens it is expected to take."""

    prompt_class: str
    sender: str
    tokens: int


@dataclass(slots=True, eq=False)
class RunTally:
    """A call in the engine. `distance`: how many other prompt classes were run since its own last was; None: it is new.

    `area`, `read`: the tally's own, as its first text came. `is_read`: whether its prompt is counted in the latter.
    """

    prompt_class: str
    distance: int | None
    asked_s: float
    area: float = 0.0
    read: float = 0.0
    is_read: bool = False
    first_s: float | None = None
    first_count: int = 0
    count: int = 0


@dataclass(slots=True)
class _Class:
    """One prompt class since the last report."""

    arrived: int = 0
    ended: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cached_most: int = 0
    output_tokens: list[int] = field(default_factory=list)
    first_token_s: float = 0.0
    call_s: float = 0.0


class Tally:
    """Counts the calls of one LM worker. `on_work` is called when there is something to do again.

    `others`: calls in its engine that are not this worker's, as somebody else finds out.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.on_work: Callable[[], None] = lambda: None
        self.held = self.running = self.others = 0
        self._work: dict[str, int] = {}
        self._calls: dict[str, int] = {}  # of each sender
        self._classes: dict[str, _Class] = {}
        self._paces: list[Pace] = []
        self._area, self._area_s = 0.0, now_s()  # the integral of how many ran, in seconds
        self._read = 0.0  # prompt tokens that the engine has read
        self._reads: dict[str, float] = {}  # those that it has read for a call of the class of late
        self._pace_s = 0.0  # of a token, in the last call that showed it
        self._takes: dict[str, float] = {}  # tokens that a call of the class has taken of late
        self._mean = float(WORK)  # those of a call of any class
        self._prefixes: dict[str, int] = {}  # the most that a call of the class was ever spared
        self._recent: list[str] = []  # prompt classes, the last one run first
        self._keeps = 1  # classes whose prefixes the engine has shown to keep at once
        self._reported_s, self._reported = now_s(), (0, 0, 0)

    def take(self, prompt_class: str, work: Work, *, is_new: bool = True) -> Held:
        """A work item has come, and is held until `release`; it is not new if it had come here before."""
        receipt = work.receipt
        sender = receipt.sender if receipt is not None else ""
        tokens = receipt.work if receipt is not None else round(self._takes.get(prompt_class, WORK))
        if is_new:
            self._class(prompt_class).arrived += 1
        self._work[sender] = self._work.get(sender, 0) + tokens
        self._calls[sender] = self._calls.get(sender, 0) + 1
        self.held += 1
        if self.held == 1:
            self.on_work()
        return Held(prompt_class, sender, tokens)

    def release(self, held: Held) -> None:
        """It is done with, or was given up."""
        self.held -= 1
        self._work[held.sender] -= held.tokens
        self._calls[held.sender] -= 1
        if not self._calls[held.sender]:
            del self._work[held.sender], self._calls[held.sender]

    def begin(self, prompt_class: str) -> RunTally:
        """The engine is asked; `leave` has to follow."""
        now_s = self._run_for(1)
        try:
            distance: int | None = self._recent.index(prompt_class)
            self._recent.remove(prompt_class)
        except ValueError:
            distance = None
        self._recent.insert(0, prompt_class)
        del self._recent[2 * WARM_MOST :]
        return RunTally(prompt_class, distance, now_s)

    def leave(self) -> None:
        """A call has left the engine, however it ended."""
        self._run_for(-1)

    def heard(self, run: RunTally, piece: Piece) -> None:
        """The engine has sent a piece of a call."""
        count = piece.count if piece.count is not None else int(bool(piece.text))
        if piece.text and run.first_s is None:
            # It has read the prompt by now, but few engines tell before the end how long that was.
            usage = _believable(piece.usage)
            read = _uncached(usage) if usage.prompt_tokens else self._reads.get(run.prompt_class)
            self._read += read or 0.0
            run.is_read = read is not None
            run.first_s, run.first_count = self._run_for(0), max(1, count)
            run.area, run.read = self._area, self._read
        run.count += count

    def ended(self, run: RunTally, usage: Usage) -> None:
        """A call came to its end; the engine's own counts are used where it tells them. Before its `leave`."""
        now_s = self._run_for(0)
        usage = _believable(usage)
        seen, tokens = self._class(run.prompt_class), max(usage.output_tokens or run.count, run.first_count)
        seen.ended += 1
        seen.prompt_tokens += usage.prompt_tokens
        seen.cached_tokens += usage.cached_tokens
        seen.cached_most = max(seen.cached_most, usage.cached_tokens)
        if len(seen.output_tokens) < SAMPLES_MOST:
            seen.output_tokens.append(tokens)
        first_s = run.first_s if run.first_s is not None else now_s
        later = tokens - run.first_count
        if later > 0 and now_s > first_s:
            self._pace_s = (now_s - first_s) / later
            if len(self._paces) < SAMPLES_MOST:
                self._paces.append(self._pace(run, first_s, later))
        # An engine that gathers whole lines shows its first token only with the last one of its line.
        first_s = max(run.asked_s, first_s - max(0, run.first_count - 1) * self._pace_s)
        seen.first_token_s += first_s - run.asked_s
        seen.call_s += now_s - first_s
        read = _uncached(usage)
        if not run.is_read:
            self._read += read
        _learn(self._reads, run.prompt_class, read)
        took = tokens + read * PREFILL
        _learn(self._takes, run.prompt_class, took)
        self._mean += SHARE * (took - self._mean)
        self._learn_keeps(run, usage.cached_tokens)

    @property
    def warm(self) -> list[str]:
        """The prompt classes whose prefixes the engine should still have, the last one run first."""
        return self._recent[: self._keeps]

    def load(self, worker: str, at_ms: int, owned: Mapping[str, list[int]]) -> Load:
        """What the worker holds now, and what others do in its engine: a call of theirs counts as one of its own."""
        waiting, work = max(0, self.held - self.running), dict(self._work)
        if self.others:
            work[OTHERS] = min(TOKENS_MOST, round(self.others * self._mean))
        return Load(worker, at_ms, self.running, waiting, work, self.warm, dict(owned))

    @property
    def has_news(self) -> bool:
        """Whether a report would say anything that the last one did not."""
        return bool(self._classes) or self._now() != self._reported

    def report(
        self, model: str, worker: str, engine: str, at_ms: int, slots: int, *, left: bool = False
    ) -> EngineReport:
        """What was seen since the last report, which begins anew."""
        now_s = self._now_s()
        span_s, self._reported_s = now_s - self._reported_s, now_s
        running, waiting, work = self._reported = self._now()
        classes = [
            ClassReport(
                name,
                seen.arrived,
                seen.ended,
                seen.prompt_tokens,
                seen.cached_tokens,
                seen.cached_most,
                seen.output_tokens,
                round(seen.first_token_s, 4),
                round(seen.call_s, 4),
            )
            for name, seen in self._classes.items()
        ]
        paces, self._paces = self._paces, []
        self._classes = {}
        return EngineReport(
            *(model, worker, engine, at_ms, round(span_s, 3), slots, running, waiting, work, classes, paces), left=left
        )

    def _now(self) -> tuple[int, int, int]:
        return self.running, max(0, self.held - self.running), sum(self._work.values())

    def _class(self, prompt_class: str) -> _Class:
        return self._classes.setdefault(prompt_class, _Class())

    def _run_for(self, more: int) -> float:
        now_s = self._now_s()
        self._area += self.running * (now_s - self._area_s)
        self._area_s = now_s
        self.running += more
        return now_s

    def _pace(self, run: RunTally, first_s: float, tokens: int) -> Pace:
        """Of a call that ends now, with so many tokens since its first."""
        beside = (self._area - run.area) / (self._area_s - first_s) - 1
        return Pace(round(max(0.0, beside), 3), self._pace_s, round((self._read - run.read) / tokens, 3), tokens)

    def _learn_keeps(self, run: RunTally, cached: int) -> None:
        """How many classes ago the prefix was last used that was, or was not, still there."""
        prefix = self._prefixes[run.prompt_class] = max(cached, self._prefixes.get(run.prompt_class, 0))
        if not prefix or not run.distance:
            return
        if cached * 4 >= prefix:  # a call that is tried again may be spared far more than its class's prefix
            self._keeps = min(WARM_MOST, max(self._keeps, run.distance + 1))
        else:
            self._keeps = min(self._keeps, run.distance)


def _uncached(usage: Usage) -> int:
    """The prompt tokens that an engine was not spared."""
    return max(0, usage.prompt_tokens - usage.cached_tokens)


def _learn(means: dict[str, float], prompt_class: str, news: float) -> None:
    known = means.get(prompt_class)
    means[prompt_class] = news if known is None else known + SHARE * (news - known)


def _believable(usage: Usage) -> Usage:
    """An engine's counts within their bounds: what it says is not ours to trust."""
    told = (usage.prompt_tokens, usage.output_tokens, usage.cached_tokens)
    return Usage(*(min(max(0, count), TOKENS_MOST) for count in told))
