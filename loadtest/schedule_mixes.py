"""What is asked of the engines while the mix shifts: three phases of the reference workload, by what they write most.

Of the recorded rows nearly the same share of work goes to each prompt class, whichever are drawn. So a mix has its own
copy of all rows, with a mark on each text, whose calls are longer or shorter by the mix's factors.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from msgspec.structs import replace as replace_in

from alto_streams.models.scripted import Script
from alto_streams.pipelines.factcheck.script import RecordedRow, load_rows
from alto_streams.wire.plans import PREFILL
from loadtest.reference.pipeline import RECORDING
from loadtest.reference.script import script_of
from loadtest.reference.workload import (
    CLAIM_OWN,
    EVIDENCE_OWN,
    VERDICT_LINE,
    ClaimCalls,
    ReferenceRequest,
    arrivals,
    load_workload,
    sentences_of,
)


@dataclass(frozen=True, slots=True)
class Mix:
    """Factors on the outputs of the stages; `claims_of`: of so many claims, one is made."""

    name: str
    answer: float = 1.0
    queries: float = 1.0
    verdict: float = 1.0
    claims_of: int = 1


MIXES = (
    Mix("reference"),
    Mix("writing", answer=2.0, queries=2.0, verdict=0.25, claims_of=2),
    Mix("judging", queries=0.5, verdict=1.5),
)
"""In the order of the phases: as recorded; long answers, few claims, long queries, and verdicts without explanation;
many claims again, short queries and long explanations."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of a phase, and when it is sent, in seconds since the run began. `counted`: it is no warm-up."""

    at_s: float
    phase: int
    request: ReferenceRequest
    counted: bool = True


def write_mixes(recording: Path, file: Path) -> None:
    """Write every mix's copy of a recording, for `Workload`. Raises `ConfigError` where a line is malformed."""
    rows = load_rows(recording)
    file.write_bytes(b"".join(msgspec.json.encode(_marked(row, mix)) + b"\n" for mix in MIXES for row in rows))


class Workload:
    """The requests of each mix, and what engines write for them, from the file that `write_mixes` has written.

    The pipeline of the reference workload looks into the environment for the recording that its sentences are from,
    once in a process, so there is one workload in a process.
    """

    def __init__(self, file: Path) -> None:
        os.environ[RECORDING] = str(file)
        every = load_workload(file)
        self.requests = [[_scaled(each, mix) for each in every if _mix_of(each) == mix.name] for mix in MIXES]
        self.script: Script = script_of(each for mine in self.requests for each in mine)
        self._work = [_work(mine) for mine in self.requests]

    def factor(self, phase: int) -> float:
        """So many times the requests of the first phase bring as much work in this one."""
        return self._work[0] / self._work[phase]

    def phases(self, rate: float, count: int, seed: int) -> list[Arrival]:
        """All phases, `count` requests each; `rate` is that of the first, and all bring as much work a second."""
        rng, found, from_s = random.Random(seed), list[Arrival](), 0.0
        for phase, mine in enumerate(self.requests):
            drawn = list(arrivals(mine, rate * self.factor(phase), count, rng))
            warm_up = 0 if phase else len(drawn) // 5
            found += [Arrival(from_s + at, phase, each, n >= warm_up) for n, (at, each) in enumerate(drawn)]
            from_s = found[-1].at_s
        return found

    def phase(self, phase: int, rate: float, count: int, seed: int, before_s: float) -> list[Arrival]:
        """One phase at `rate`, after the one before it at half its load, which does not count: so it has shifted."""
        rng, before = random.Random(seed), max(0, phase - 1)
        half = rate / 2 * self.factor(before) / self.factor(phase)
        drawn = arrivals(self.requests[before], half, max(1, round(half * before_s)), rng)
        found = [Arrival(at, before, each, False) for at, each in drawn]
        from_s = found[-1].at_s
        return found + [
            Arrival(from_s + at, phase, each) for at, each in arrivals(self.requests[phase], rate, count, rng)
        ]

    def steady(self, rate: float, seconds: float, seed: int, counted_s: float) -> list[Arrival]:
        """Only the first mix, for about so long; what comes before `counted_s` is warm-up."""
        drawn = arrivals(self.requests[0], rate, round(rate * seconds), seed)
        return [Arrival(at, 0, each, at >= counted_s) for at, each in drawn]


def _marked(row: RecordedRow, mix: Mix) -> RecordedRow:
    """A row whose texts are the mix's own, with as many claims as the mix makes of it. It has as many words."""
    claims = [replace_in(each, claim=f"{mix.name}:{each.claim}") for each in row.claims[:: mix.claims_of]]
    response = " ".join(f"{mix.name}:{sentence}" for sentence in sentences_of(row.response))
    return RecordedRow(f"{row.id}/{mix.name}", f"{mix.name}:{row.prompt}", response, claims)


def _mix_of(request: ReferenceRequest) -> str:
    return request.id.partition("/")[2]


def _scaled(request: ReferenceRequest, mix: Mix) -> ReferenceRequest:
    parts = [
        replace(
            part,
            tokens=round(part.tokens * mix.answer),
            claims=tuple(_scaled_claim(each, mix) for each in part.claims),
        )
        for part in request.sentences
    ]
    return replace(request, sentences=tuple(parts))


def _scaled_claim(claim: ClaimCalls, mix: Mix) -> ClaimCalls:
    verdict = max(VERDICT_LINE, round(claim.verdict * mix.verdict))
    return replace(claim, queries=round(claim.queries * mix.queries), verdict=verdict)


def _work(requests: Sequence[ReferenceRequest]) -> float:
    """The tokens of a request in the mean, when all prefixes are cached."""
    total = 0.0
    for request in requests:
        total += PREFILL * request.own + request.tokens
        total += sum(PREFILL * part.tokens for part in request.sentences if part.claims)
        for claim in request.claims:
            total += claim.line + claim.queries + claim.verdict + PREFILL * (claim.tokens + CLAIM_OWN + EVIDENCE_OWN)
    return total / len(requests)
