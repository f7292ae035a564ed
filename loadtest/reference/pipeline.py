"""The pipeline of the reference workload: fact checking with prompts and outputs of fixed lengths.

    question -> answer (sentences) -> claims -> two queries each -> evidence (a search) -> verdict -> report

One model for all stages, as in the model of the limit: every engine serves every prompt class.
"""

from __future__ import annotations

import asyncio
import os
import random
from functools import cache
from itertools import cycle, islice
from pathlib import Path

from alto_streams.define.parsers import JsonLines, Lines, Sentences
from alto_streams.define.pipeline import Gather, ParseFailure, Parser, Pipeline, Prompt, Record
from alto_streams.wire.records import Message, TokenLogprob
from loadtest.reference.script import FILLER
from loadtest.reference.script import load_script as script
from loadtest.reference.workload import (
    CLAIM_OWN,
    EVIDENCE_OWN,
    PREFIX,
    QUESTION_OWN,
    SEARCH_S,
    SEARCH_SPREAD,
    load_workload,
)

RECORDING = "ALTO_REFERENCE_RECORDING"  # the file that the requests are drawn from
MAX_TOKENS = 4_000

__all__ = ["pipeline", "script"]


class Question(Record):
    """What the user asks."""

    prompt: str


class Sentence(Record):
    """One sentence of the answer that makes a claim; in barrier mode, all of the answer."""

    text: str


class Claim(Record):
    """One checkable statement."""

    claim: str


class Query(Record):
    """What to search for."""

    query: str


class Passage(Record):
    """What a search found."""

    text: str


class Verdict(Record):
    """What the judge says of a claim; null as it was recorded where the label cannot be parsed."""

    label: bool | None


class Report(Record):
    """The verdicts in the order of the answer."""

    labels: list[bool | None]


class Search:
    """Takes its time, and finds as much as the verdict's prompt holds of each query."""

    async def search(self, query: str) -> Passage:
        await asyncio.sleep(SEARCH_S * random.uniform(*SEARCH_SPREAD))
        return Passage(_words(EVIDENCE_OWN // 2))


class Checkable:
    """The sentences that make a claim: the model of the limit has no calls for the others."""

    def __init__(self) -> None:
        self._sentences: Sentences[str] = Sentences(str, rule="plain")

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> list[Sentence | ParseFailure]:
        return self._checkable(self._sentences.feed(text))

    def close(self) -> list[Sentence | ParseFailure]:
        return self._checkable(self._sentences.close())

    def coarse(self) -> Parser[Sentence]:
        return Sentences(Sentence).coarse()

    @staticmethod
    def _checkable(found: list[str | ParseFailure]) -> list[Sentence | ParseFailure]:
        checkable = _with_claims()
        return [
            each if isinstance(each, ParseFailure) else Sentence(each)
            for each in found
            if isinstance(each, ParseFailure) or each in checkable
        ]


# The barrier that the limit models has one call for the claims of a whole answer.
pipeline = Pipeline("reference", request=Question, coarse_barrier=True)


@pipeline.resource
def search() -> Search:
    return Search()


@pipeline.generate(model="lm", show="text")
def answer(question: Question) -> Prompt[Sentence]:
    own = f"{question.prompt} {_words(QUESTION_OWN)}"
    return Prompt(_fixed("answer"), own, Checkable(), MAX_TOKENS, subject=question.prompt)


@pipeline.generate(model="lm")
def claims(sentence: Sentence) -> Prompt[Claim]:
    return Prompt(_fixed("claims"), sentence.text, JsonLines(Claim), MAX_TOKENS)


@pipeline.generate(model="lm", show="nothing")
def queries(claim: Claim) -> Prompt[Query]:
    return Prompt(_fixed("queries"), claim.claim, Lines(Query, limit=2), MAX_TOKENS)


@pipeline.map()
async def evidence(query: Query, search: Search) -> Passage:
    return await search.search(query.query)


@pipeline.generate(model="lm")
def verdict(claim: Claim, found: Gather[Passage]) -> Prompt[Verdict]:
    told = f"{claim.claim} {' '.join(passage.text for passage in found)}".split()
    own = " ".join(islice(cycle(told), _word_count(CLAIM_OWN + EVIDENCE_OWN)))
    return Prompt(_fixed("verdict"), own, JsonLines(Verdict, limit=1), MAX_TOKENS, subject=claim.claim)


@pipeline.gather
def report(question: Question, verdicts: Gather[Verdict]) -> Report:
    return Report([verdict.label for verdict in verdicts])


@cache
def _with_claims() -> frozenset[str]:
    path = os.environ.get(RECORDING)
    if not path:
        raise RuntimeError(f"{RECORDING} must name the recording that the requests are drawn from")
    return frozenset(part.text for row in load_workload(Path(path)) for part in row.sentences if part.claims)


@cache
def _fixed(stage: str) -> list[Message]:
    return [Message("system", _words(PREFIX[stage]))]


def _words(tokens: int) -> str:
    """A text of so many tokens."""
    return " ".join(islice(cycle(FILLER), _word_count(tokens)))


def _word_count(tokens: int) -> int:
    return round(tokens / 1.35)
