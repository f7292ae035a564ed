"""Runs recorded requests through the simulator: virtual time, and the same bytes for the same file and options."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import msgspec

from alto_streams.cli.errors import CommandFailed
from alto_streams.models.registry import script_of
from alto_streams.models.scripted import Script
from alto_streams.pipeline import Pipeline
from alto_streams.recordings.results import Ran
from alto_streams.recordings.spacing import Planned
from alto_streams.recordings.traces import WORDS
from alto_streams.records import Call, Raw
from alto_streams.settings import ConfigError, Settings

SENTENCE = 12  # words of a line of plain text


@dataclass(frozen=True, slots=True)
class Simulated:
    """The deployment: engines with the reference timing. `hop_s`: the way of each record through the log.

    They write what the script says of a call, and `output_tokens` of plain text where it says nothing.
    """

    script: Path | None
    output_tokens: int | None
    engines: int
    hop_s: float
    seed: int

    def __str__(self) -> str:
        words = [f"simulator: {self.engines} engines, hop {self.hop_s:g} s, seed {self.seed}"]
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


def run(pipeline: Pipeline, planned: Sequence[Planned], wanted: Simulated, config: Settings) -> Iterator[Ran]:
    """What becomes of each request, as they end. Deadlines are left out: the simulator knows none.

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
        requests.append(SimulatedRequest(number, at_s, bytes(each.input), each.mode))
    system = SimulatedSystem(wanted.writes(config), engines=wanted.engines, hop_s=wanted.hop_s)
    try:
        for outcome in simulate(pipeline, requests, system, wanted.seed):
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


def plain_text(tokens: int) -> list[str]:
    """So many tokens, as lines of one sentence each."""
    return [f"{word}.\n" if number % SENTENCE == 0 else f"{word} " for number, word in enumerate(_words(tokens), 1)]


def _words(tokens: int) -> list[str]:
    return list(islice(cycle(WORDS), tokens))


def _rounded(latency_s: float | None) -> float | None:
    return None if latency_s is None else round(latency_s, 6)
