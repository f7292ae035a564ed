"""What is known of a model's prompt classes and engines, learned from the reports of its LM workers as they come.

Everything decays with time, so that it follows a mix that shifts; without reports it is what the priors say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from alto_streams.scheduler.decayed import ClassSums, PaceSums, speeds
from alto_streams.scheduler.downstream import Downstream
from alto_streams.wire.plans import PREFILL, ClassForecast, EngineReport, Forecast

PROMPT, OUTPUT, OUTPUT_UPPER = 300.0, 100.0, 250.0  # tokens, of a class of which nothing is known
FIRST_TOKEN_S, TOKEN_S = 0.2, 0.02
FEW = 2.0  # calls after which what is known counts as much as the priors
UPPER = 0.9


@dataclass(frozen=True, slots=True)
class ClassState:
    """A prompt class now: lengths in tokens, times in seconds, `rate` in calls a second, `calls` as they ended so far.

    `hit_rate`: the share of its prefix's tokens that engines were spared. `token_s`: from one token to the next.
    """

    calls: int
    rate: float
    prompt_tokens: float
    output_tokens: float
    output_upper: float
    prefix_tokens: float
    hit_rate: float
    first_token_s: float
    token_s: float

    @property
    def call_s(self) -> float:
        """How long a call takes, from when the engine is asked."""
        return self.first_token_s + self.output_tokens * self.token_s


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker that is there. `speed`: 1.0 is the mean. `work`: tokens that its calls are expected to take."""

    worker: str
    engine: str
    speed: float = 1.0
    slots: int = 1
    running: int = 0
    waiting: int = 0
    work: int = 0
    hit_rate: float = 0.0
    last_ms: int = 0


class WorkerSums(msgspec.Struct):
    """What one worker said last, and its paces. `hits`: prompt class -> calls ended, tokens cached."""

    engine: str
    last_ms: int
    slots: int
    running: int
    waiting: int
    work: int
    left: bool
    paces: PaceSums
    hits: dict[str, tuple[float, float]] = {}


class ModelSums(msgspec.Struct):
    """All that is kept of one model."""

    classes: dict[str, ClassSums] = {}
    workers: dict[str, WorkerSums] = {}


class Statistics:
    """The statistics of all models. `course`: what follows what in the pipelines; its classes are known from the start.

    `half_life_s`: after which what was seen counts half. `lost_s`: a worker that is silent for longer has gone.
    """

    def __init__(self, half_life_s: float = 30.0, *, lost_s: float = 5.0, course: Downstream | None = None) -> None:
        self._half_life_s = half_life_s
        self._lost_s = lost_s
        self._course = course or Downstream()
        self._models: dict[str, ModelSums] = {}

    def take(self, report: EngineReport) -> None:
        """Learn from a report. One that is no newer than the worker's last is dropped: it has come before."""
        sums = self._models.setdefault(report.model, ModelSums())
        worker = sums.workers.get(report.worker)
        if worker is not None and report.at_ms <= worker.last_ms:
            return
        at_ms, half_life_s = report.at_ms, self._half_life_s
        if worker is None or worker.engine != report.engine:
            paces, hits, fade = PaceSums(at_ms), {}, 0.0
        else:
            paces, hits = worker.paces, worker.hits
            fade = 2.0 ** (-(at_ms - worker.last_ms) / 1000 / half_life_s)
        paces.take(report.paces, at_ms, half_life_s)
        hits = {name: (n * fade, cached * fade) for name, (n, cached) in hits.items() if n * fade > 1e-3}
        for each in report.classes:
            if each.prompt_class not in sums.classes:
                sums.classes[each.prompt_class] = ClassSums(at_ms - int(report.span_s * 1000), at_ms)
            sums.classes[each.prompt_class].take(each, at_ms, report.span_s, half_life_s)
            n, cached = hits.get(each.prompt_class, (0.0, 0.0))
            hits[each.prompt_class] = (n + each.ended, cached + each.cached_tokens)
        sums.workers[report.worker] = WorkerSums(
            report.engine,
            at_ms,
            report.slots,
            report.running,
            report.waiting,
            report.work,
            report.left,
            paces,
            hits,
        )

    def classes(self, model: str, at_ms: int) -> dict[str, ClassState]:
        """The model's prompt classes: those of the pipelines, and all that were reported."""
        sums = self.sums(model)
        names = sorted({*self._course.classes(model), *sums.classes})
        return {name: self._class(sums.classes.get(name), at_ms) for name in names}

    def workers(self, model: str, at_ms: int) -> dict[str, WorkerState]:
        """The workers that have reported lately and have not left."""
        sums = self.sums(model)
        there = {
            name: each
            for name, each in sorted(sums.workers.items())
            if not each.left and at_ms - each.last_ms <= self._lost_s * 1000
        }
        fast = speeds({name: each.paces for name, each in there.items()})
        found = {}
        for name, each in there.items():
            cached = sum(tokens for _, tokens in each.hits.values())
            whole = sum(n * sums.classes[c].prefix for c, (n, _) in each.hits.items() if c in sums.classes)
            found[name] = WorkerState(
                worker=name,
                engine=each.engine,
                speed=fast[name],
                slots=each.slots,
                running=each.running,
                waiting=each.waiting,
                work=each.work,
                hit_rate=min(1.0, cached / whole) if whole else 0.0,
                last_ms=each.last_ms,
            )
        return found

    def forecast(self, model: str, at_ms: int) -> Forecast:
        """What to expect of the model's prompt classes and workers."""
        states = self.classes(model, at_ms)
        call_s = {name: state.call_s for name, state in states.items()}
        everywhere = {
            name: state.call_s
            for other in {*self._models, *self._course.models.values()} - {model}
            for name, state in self.classes(other, at_ms).items()
        }
        rest_s = self._course.rest_s(everywhere | call_s)
        classes = {
            name: ClassForecast(
                prompt_tokens=round(state.prompt_tokens, 1),
                output_tokens=round(state.output_tokens, 1),
                output_upper=round(state.output_upper, 1),
                prefix_tokens=round(state.prefix_tokens, 1),
                rate=round(state.rate, 4),
                call_s=round(state.call_s, 4),
                rest_s=round(rest_s[name], 4),
            )
            for name, state in states.items()
        }
        fast = {name: round(each.speed, 4) for name, each in self.workers(model, at_ms).items()}
        return Forecast(model, at_ms, classes, fast)

    def sums(self, model: str) -> ModelSums:
        """What is kept of a model; it goes on changing."""
        return self._models.get(model, ModelSums())

    def forget(self, model: str, at_ms: int, after_s: float = 600.0) -> None:
        """Drop workers that have gone so long ago, so that what is kept has a bound."""
        sums = self.sums(model)
        sums.workers = {n: each for n, each in sums.workers.items() if at_ms - each.last_ms <= after_s * 1000}

    def _class(self, sums: ClassSums | None, at_ms: int) -> ClassState:
        if sums is None:
            return ClassState(0, 0.0, PROMPT, OUTPUT, OUTPUT_UPPER, 0.0, 0.0, FIRST_TOKEN_S, TOKEN_S)
        rate = sums.rate(at_ms, self._half_life_s)
        if not sums.seen or not sums.ended:
            return ClassState(0, rate, PROMPT, OUTPUT, OUTPUT_UPPER, 0.0, 0.0, FIRST_TOKEN_S, TOKEN_S)
        sure = sums.seen / (sums.seen + FEW)
        prompt = sums.prompt_tokens / sums.ended
        prefix = min(sums.prefix, prompt)  # of a call that was tried again the engine may have had all
        tokens = max(sums.output_tokens, sums.ended)  # an engine may have counted none of what it wrote
        return ClassState(
            calls=sums.seen,
            rate=rate,
            prompt_tokens=_blend(prompt, PROMPT, sure),
            output_tokens=_blend(sums.output_tokens / sums.ended, OUTPUT, sure),
            output_upper=_blend(sums.upper(UPPER), OUTPUT_UPPER, sure),
            prefix_tokens=prefix,
            hit_rate=min(1.0, sums.cached_tokens / (sums.ended * prefix)) if prefix else 0.0,
            first_token_s=_blend(sums.first_token_s / sums.ended, FIRST_TOKEN_S, sure),
            token_s=_blend(sums.call_s / tokens, TOKEN_S, sure),
        )


def _blend(known: float, prior: float, sure: float) -> float:
    return sure * known + (1 - sure) * prior


def demand(classes: Mapping[str, ClassForecast]) -> dict[str, float]:
    """Class -> tokens/s of work that it brings, when its prefix is warm."""
    return {
        name: each.rate * (each.output_tokens + PREFILL * max(0.0, each.prompt_tokens - each.prefix_tokens))
        for name, each in classes.items()
    }
