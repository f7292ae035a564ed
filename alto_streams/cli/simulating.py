"""Runs recorded requests through the simulator: virtual time, and the same bytes for the same file and options."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import CommandFailed, ConfigError
from alto_streams.models.registry import script_of
from alto_streams.models.scripted import Script
from alto_streams.models.simulated import Timing
from alto_streams.recordings.results import ClassCalls, Ran
from alto_streams.recordings.spacing import Planned
from alto_streams.recordings.traces import WORDS
from alto_streams.scheduler import policies
from alto_streams.settings import Settings, settings
from alto_streams.wire.plans import Plan
from alto_streams.wire.records import Call, Raw

SENTENCE = 12  # words of a line of plain text


@dataclass(frozen=True, slots=True)
class Simulated:
    """The deployment: engines with the reference timing. `hop_s`: the way of each record through the log.

    They write what the script says of a call, and `output_tokens` of plain text where it says nothing. `policy`: who
    takes a call. `speeds`: of the first engines, 1.0 of the others; `cached_classes`: how many prompt classes' prefixes
    each keeps, None: all; `lost`: (engine, when it stops for good, in seconds).
    """

    script: Path | None
    output_tokens: int | None
    engines: int
    hop_s: float
    seed: int
    policy: str
    speeds: tuple[float, ...] = ()
    cached_classes: int | None = None
    lost: tuple[tuple[int, float], ...] = ()

    def __str__(self) -> str:
        words = [f"simulator: {self.engines} engines, {self.policy}, hop {self.hop_s:g} s, seed {self.seed}"]
        if self.speeds:
            words.append(f"speeds {','.join(f'{each:g}' for each in self.speeds)}")
        if self.cached_classes is not None:
            words.append(f"{self.cached_classes} classes cached")
        words += [f"engine {number} lost at {at_s:g} s" for number, at_s in self.lost]
        if self.script is not None:
            words.append(f"script {hashlib.sha256(self.script.read_bytes()).hexdigest()[:16]}")
        if self.output_tokens is not None:
            words.append(f"{self.output_tokens} tokens a call")
        return ", ".join(words)

    def writes(self, config: Settings) -> Script:
        """What the engines write. Raises as `script_of`."""
        script = None if self.script is None else script_of(self.script, config)
        plain = None if self.output_tokens is None else plain_text(self.output_tokens)

        def look_up(prompt_class: str, call: Call) -> str | Sequence[str] | None:
            found = None if script is None else script(prompt_class, call)
            return plain if found is None else found

        return look_up


class Seen:
    """What clients do not see: the calls of each prompt class, and how many plans there were."""

    def __init__(self) -> None:
        self.classes: dict[str, ClassCalls] = {}
        self.plans = 0

    def ended(self, at_s: float, worker: str, prompt_class: str, prefix: int, cached: int) -> None:
        """A call has ended, of whose prefix so many tokens were cached."""
        known = self.classes.get(prompt_class, ClassCalls())
        self.classes[prompt_class] = ClassCalls(
            known.calls + 1, known.prefix_tokens + prefix, known.cached_tokens + min(prefix, cached)
        )

    def planned(self, at_s: float, plan: Plan) -> None:
        """A plan is published."""
        self.plans += 1


def run(
    pipeline: Pipeline,
    planned: Sequence[Planned],
    wanted: Simulated,
    config: Settings,
    seen: Seen,
    with_deadlines: bool = True,
) -> Iterator[Ran]:
    """What becomes of each request, as they end. One with a deadline may be shed if its pipeline asks for that.

    Raises:
        ConfigError: an input does not fit the pipeline, naming the request and the field; or as `script_of`.
        CommandFailed: the pipeline cannot be simulated.
    """
    from alto_streams.simulator import SimulatedRequest, SimulatedSystem, SimulationError, simulate

    requests = []
    for number, (at_s, each) in enumerate(planned):
        try:
            msgspec.json.decode(each.input, type=pipeline.request)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"request {each.id}: its input does not fit pipeline {pipeline.name}: {error}") from None
        within_s = each.within_s if with_deadlines else None
        requests.append(SimulatedRequest(number, at_s, bytes(each.input), each.mode, within_s, pipeline.shed))
    system = SimulatedSystem(
        wanted.writes(config),
        engines=wanted.engines,
        timing=Timing(prefixes=wanted.cached_classes),
        hop_s=wanted.hop_s,
        policy=wanted.policy,
        speeds=wanted.speeds,
        lost=wanted.lost,
    )
    try:
        for outcome in simulate(pipeline, requests, system, wanted.seed, seen):
            yield Ran(
                id=planned[outcome.number].request.id,
                at_s=outcome.at_s,
                status=outcome.status,
                ttft_s=_rounded(outcome.ttft_s),
                first_item_s=_rounded(outcome.first_item_s),
                done_s=_rounded(outcome.done_s),
                result=Raw(outcome.result),
            )
    except SimulationError as error:
        raise CommandFailed(str(error)) from None


def simulated(
    script: Path | None,
    output_tokens: int | None,
    engines: int,
    hop_s: float,
    seed: int,
    policy: str | None,
    speeds: str | None,
    cached_classes: int | None,
    lost: Sequence[str] | None,
) -> Simulated:
    """The deployment that a command line describes. Raises `ConfigError` naming the option at fault."""
    deployed = script, output_tokens, engines, hop_s, seed, _policy(policy, settings())
    return Simulated(*deployed, _speeds(speeds, engines), cached_classes, _lost(lost, engines))


def _policy(given: str | None, config: Settings) -> str:
    """The policy of this name, or that of ALTO_POLICY. Raises `ConfigError` naming all."""
    try:
        return policies.policy(given or config.policy).name
    except ConfigError as error:
        raise ConfigError(f"{'--policy' if given else 'ALTO_POLICY'}: {error}") from None


def _speeds(text: str | None, engines: int) -> tuple[float, ...]:
    """`1,1,0.5` as speeds. Raises `ConfigError` if one is none, or of an engine that there is not."""
    if text is None:
        return ()
    try:
        found = tuple(float(each) for each in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0.01 <= each <= 100 for each in found) or len(found) > engines:
        raise ConfigError(
            f"--engine-speeds {text}: expected at most {engines} speeds from 0.01 to 100, e.g. 1,1,0.5; "
            "--engines says how many there are"
        )
    return found


def _lost(texts: Sequence[str] | None, engines: int) -> tuple[tuple[int, float], ...]:
    """`2@30` as an engine and when it is lost. Raises `ConfigError` if there is none such, or none is left."""
    found: dict[int, float] = {}
    for text in texts or ():
        form = re.fullmatch(r"(\d{1,4})@(\d{1,7}(?:\.\d{1,6})?)", text)
        if form is None or int(form[1]) >= engines:
            raise ConfigError(
                f"--lose-engine {text}: expected ENGINE@SECONDS, e.g. {engines - 1}@30; "
                f"engines are numbered from 0 to {engines - 1} (--engines)"
            )
        found[int(form[1])] = float(form[2])
    if len(found) >= engines:
        raise ConfigError("--lose-engine: at least one engine has to be left")
    return tuple(sorted(found.items()))


def plain_text(tokens: int) -> list[str]:
    """So many tokens, as lines of one sentence each."""
    return [f"{word}.\n" if number % SENTENCE == 0 else f"{word} " for number, word in enumerate(_words(tokens), 1)]


def _words(tokens: int) -> list[str]:
    return list(islice(cycle(WORDS), tokens))


def _rounded(latency_s: float | None) -> float | None:
    return None if latency_s is None else round(latency_s, 6)
