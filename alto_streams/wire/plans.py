"""What travels for the scheduler: reports of engines, forecasts and plans made of them, and why a call went somewhere.

Work is counted in *tokens*: one for each token to be written, and a fraction for each one of the prompt that has to be
read (`PREFILL`), since engines read many at a time. Topics and what they carry:
    engines        EngineReport, once a second from every LM worker
    plans          Plan | Forecast, compacted, by model
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta

from alto_streams.wire.codec import Wire

PREFILL = 0.125  # what reading a token costs, in tokens written
OTHERS = "others"  # whoever else uses a worker's engine, among the senders of its load; no sender is called so

# What engines say of themselves is not ours to trust: a report beyond these bounds cannot be read.
Count = Annotated[int, Meta(ge=0, le=10**12)]
Millis = Annotated[int, Meta(ge=0, le=10**14)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class Candidate(Wire, frozen=True):
    """A worker that a call could go to: the tokens that are waiting there, and whether it has the prefix."""

    worker: str
    work: int
    warm: bool = False


class Receipt(Wire, frozen=True):
    """Why a call went where it went. `work`: the tokens it is expected to take. `plan`: its version, 0 without one.

    `sender` names the process that dispatched it. `latest_ms`: when the call has to begin for its request to meet its
    deadline. `live`: whether the engines' live load was known; `age_ms`: how old that of the chosen one was.
    """

    policy: str
    reason: str
    sender: str = ""
    chosen: str = ""
    work: int = 0
    plan: int = 0
    live: bool = False
    age_ms: int | None = None
    latest_ms: int | None = None
    candidates: list[Candidate] = []


class ClassReport(Wire, frozen=True):
    """What one worker saw of one prompt class (`pipeline.stage`) since its last report.

    `prompt_tokens`, `cached_tokens`: of the calls that ended, as the engine counts them; `cached_most`: the most that
    one call was spared, which is its class's prefix. `output_tokens`: of each that ended. `first_token_s`: summed from
    when the engine was asked to the first text; `call_s`: summed from then to the end.
    """

    prompt_class: str
    arrived: Count = 0
    ended: Count = 0
    prompt_tokens: Count = 0
    cached_tokens: Count = 0
    cached_most: Count = 0
    output_tokens: list[Count] = []
    first_token_s: Seconds = 0.0
    call_s: Seconds = 0.0


class Pace(NamedTuple):
    """How fast a call was written, from its first token on: in the mean `token_s` from one of `tokens` to the next.

    `beside`: other calls that ran meanwhile, in the mean. `read`: prompt tokens that its engine read meanwhile, for
    each of its own.
    """

    beside: float
    token_s: float
    read: float = 0.0
    tokens: int = 1


class EngineReport(Wire, frozen=True, tag="engine"):
    """One LM worker's last `span_s` seconds. `worker` names it within its model, `engine` what it stands in front of.

    `running`, `waiting`: calls now. `work`: tokens that they are expected to take. `paces`: of the calls that ended.
    `left`: the worker stops, or its engine is away.
    """

    model: str
    worker: str
    engine: str
    at_ms: Millis
    span_s: Seconds
    slots: Count
    running: Count = 0
    waiting: Count = 0
    work: Count = 0
    classes: list[ClassReport] = []
    paces: list[Pace] = []
    left: bool = False


class Load(Wire, frozen=True):
    """What a worker holds at this moment; told through Redis, so it may be late, or missing.

    `work`: sender -> the tokens that its calls are expected to take; under `OTHERS` what else the engine holds. `warm`:
    the prompt classes whose prefix the engine had last. `owned`: prompt class -> the partitions of its work topic that
    this worker has.
    """

    worker: str
    at_ms: Millis
    running: Count
    waiting: Count
    work: dict[str, Count] = {}
    warm: list[str] = []
    owned: dict[str, list[int]] = {}


class ClassForecast(Wire, frozen=True):
    """What is expected of a call of a prompt class; all lengths in tokens.

    `output_upper`: nine calls of ten write no more. `prefix_tokens`: what a warm engine is spared. `rate`: calls a
    second, `call_s`: how long one takes, `rest_s`: how long its request takes from the call's end to its own.
    """

    prompt_tokens: float
    output_tokens: float
    output_upper: float
    prefix_tokens: float = 0.0
    rate: float = 0.0
    call_s: float = 0.0
    rest_s: float = 0.0


class Forecast(Wire, frozen=True, tag="forecast"):
    """What the scheduler expects of a model's prompt classes, and how fast its workers are: 1.0 is their mean."""

    model: str
    at_ms: int
    classes: dict[str, ClassForecast] = {}
    speeds: dict[str, float] = {}


class Plan(Wire, frozen=True, tag="plan"):
    """Who owns which partitions of a model's work topics.

    `owners`: prompt class -> the worker of each of its partitions. `weights`: prompt class -> worker -> its share of
    the class's work; an owner without a share takes only what escapes from the others. `busy`: worker -> the work that
    it is expected to get, over its speed, 1.0 being the mean.
    """

    model: str
    version: int
    at_ms: int
    cause: str
    owners: dict[str, list[str]] = {}
    weights: dict[str, dict[str, float]] = {}
    busy: dict[str, float] = {}


PlanRecord = Plan | Forecast
