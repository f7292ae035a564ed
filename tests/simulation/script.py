"""The pipeline that the simulation runs, and the script that its models follow: what every call must be asked and say.

The shape is fact-checking: an answer, claims per sentence, queries per claim, evidence per query, a verdict per claim
that joins exactly its own claim's evidence, a report. A line that begins with `!` does not parse.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from alto_streams.define.pipeline import Gather, ParseFailure, Pipeline, Prompt, Record
from alto_streams.wire.records import Mode, TokenLogprob

MAX_TOKENS = 100_000
QUERIES = (0, 1, 2, 2, 5)


class Question(Record, frozen=True):
    prompt: str


class Sentence(Record, frozen=True):
    text: str


class Claim(Record, frozen=True):
    claim: str


class Query(Record, frozen=True):
    query: str


class Passage(Record, frozen=True):
    text: str


class Verdict(Record, frozen=True):
    verdict: str


class Report(Record, frozen=True):
    claims: dict[str, str]
    verdicts: dict[str, str]
    failures: dict[str, str]


class Lines:
    """One item a line; `coarse` makes one item of the whole text."""

    def __init__(self, item: Any, whole: bool = False, *, can_merge: bool = False) -> None:
        self._item, self._whole, self._can_merge, self._held = item, whole, can_merge, ""

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> list[Any]:
        self._held += text
        found = []
        while not self._whole and "\n" in self._held:
            line, _, self._held = self._held.partition("\n")
            found.append(self._made(line))
        return found

    def close(self) -> list[Any]:
        held, self._held = self._held, ""
        return [self._made(held)] if held else []

    def coarse(self) -> Lines:
        return Lines(self._item, whole=True) if self._can_merge else self

    def _made(self, text: str) -> Any:
        return ParseFailure("a malformed line") if text.startswith("!") and not self._whole else self._item(text)


pipeline = Pipeline("factcheck", request=Question, coarse_barrier=True)


def _prompt(text: str, item: Any, *, can_merge: bool = False) -> Prompt[Any]:
    return Prompt(fixed=[], variable=text, parse=Lines(item, can_merge=can_merge), max_tokens=MAX_TOKENS)


@pipeline.generate(model="chat", show="text")
def answer(question: Question) -> Prompt[Sentence]:
    return _prompt(question.prompt, Sentence, can_merge=True)


@pipeline.generate(model="judge", show="nothing")
def claims(sentence: Sentence) -> Prompt[Claim]:
    return _prompt(sentence.text, Claim)


@pipeline.generate(model="judge", show="nothing")
def queries(claim: Claim) -> Prompt[Query]:
    return _prompt(claim.claim, Query)


@pipeline.map()
async def evidence(query: Query) -> list[Passage]:
    return evidence_of(query)


@pipeline.generate(model="judge")
def verdict(claim: Claim, found: Gather[Passage]) -> Prompt[Verdict]:
    return _prompt(claim.claim + "#" + ";".join(p.text for p in found), Verdict)


@pipeline.gather
def report(question: Question, claims: Gather[Claim], verdicts: Gather[Verdict]) -> Report:
    return Report(
        {path: c.claim for path, c in claims.items()},
        {path: v.verdict for path, v in verdicts.items()},
        dict.fromkeys((*claims.failures, *verdicts.failures), "failed"),
    )


_ = pipeline.root


def evidence_of(query: Query) -> list[Passage]:
    """No passage, one or two; some queries make the function raise."""
    kind = sum(query.query.encode()) % 5
    if kind == 4:
        raise LookupError(query.query)
    return [Passage(f"{query.query}={n}") for n in range(min(kind, 2))]


@dataclass
class Script:
    """What the models say about one request: subject -> whole output. Every text names where it belongs."""

    prompt: str
    mode: Mode
    outputs: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)  # claim -> the verdict's whole prompt
    claims: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        return self.outputs["answer", self.prompt]


def write_script(prompt: str, mode: Mode, rng: random.Random, *, malformed: float, most: int = 3) -> Script:
    """A random script for one request."""
    script = Script(prompt, mode)

    def line(text: str) -> str:
        return "!" + text if rng.random() < malformed else text

    sentences = [line(f"{prompt} s{i} " + "word " * rng.randint(0, 3)) for i in range(rng.randint(0, most))]
    script.outputs["answer", prompt] = "".join(s + "\n" for s in sentences)
    if mode is Mode.BARRIER:
        sentences = [script.answer] if sentences else []
    for i, sentence in enumerate(sentences):
        if sentence.startswith("!") and mode is Mode.STREAM:
            script.failures[str(i)] = "failed"
            continue
        found = [line(f"{prompt} s{i} c{j}") for j in range(rng.randint(0, most))]
        script.outputs["claims", sentence] = "".join(c + "\n" for c in found)
        for j, claim in enumerate(found):
            _write_claim(script, f"{i}/{j}", claim, rng, line)
    return script


def _write_claim(script: Script, path: str, claim: str, rng: random.Random, line: Any) -> None:
    if claim.startswith("!"):
        script.failures[path] = "failed"
        return
    script.claims[path] = claim
    asked = [line(f"{claim} q{k} {rng.randint(0, 9)}") for k in range(rng.choice(QUERIES))]
    script.outputs["queries", claim] = "".join(q + "\n" for q in asked)
    found: list[Passage] = []
    for query in asked:
        if not query.startswith("!"):
            try:
                found += evidence_of(Query(query))
            except LookupError:
                continue  # a failed leaf: the claim is judged by what is left
    script.asked[claim] = claim + "#" + ";".join(p.text for p in found)
    label = line(rng.choice(["True", "False"]) + f" {claim}")
    script.outputs["verdict", script.asked[claim]] = label + rng.choice(["\n", ""])
    if label.startswith("!"):
        script.failures[f"{path}/0"] = "failed"
    else:
        script.verdicts[f"{path}/0"] = label
