"""The reference workload's requests: recorded fact checks with the length of every call, in tokens.

The figures are fixed: prefixes, own inputs and outputs of each call, and how a text is cut into sentences. Lengths that
the recording does not tell (of queries and explanations) are drawn once, with a seed, in the order of the rows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alto_streams.models.simulated import token_count
from alto_streams.pipelines.factcheck.script import load_rows

PREFIX = {"answer": 40, "claims": 580, "queries": 300, "verdict": 340}
"""The fixed part of each prompt class's prompts."""
QUESTION_OWN, CLAIM_OWN, EVIDENCE_OWN = 20, 60, 400
CLAIM_EXTRA = 6  # tokens of a claim's line beside the claim
QUERY_TOKENS, VERDICT_TOKENS = (20, 40), (50, 110)
VERDICT_LINE = 12  # the verdict stands in the first tokens of its call
SEARCH_S, SEARCH_SPREAD = 0.150, (0.5, 1.5)
LENGTHS_SEED = 7
WARM_UP = 0.15  # the share of requests, by time, that is not counted

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class ClaimCalls:
    """One claim: its text and label, and the tokens of itself, its queries' call and its verdict's call."""

    text: str
    label: bool | None
    tokens: int
    queries: int
    verdict: int

    @property
    def line(self) -> int:
        """Tokens of the claim's line in the claims call."""
        return self.tokens + CLAIM_EXTRA

    @property
    def first_query(self) -> int:
        """Tokens until the first of both queries has ended."""
        return self.queries // 2

    @property
    def verdict_line(self) -> int:
        """Tokens until the verdict itself has been written."""
        return min(VERDICT_LINE, self.verdict)


@dataclass(frozen=True, slots=True)
class SentencePart:
    """One sentence of an answer, its tokens, and the claims that are made of it."""

    text: str
    tokens: int
    claims: tuple[ClaimCalls, ...]


@dataclass(frozen=True, slots=True)
class ReferenceRequest:
    """One recorded request. `own`: the tokens of the answer call's own input."""

    id: str
    prompt: str
    own: int
    response: str
    sentences: tuple[SentencePart, ...]

    @property
    def tokens(self) -> int:
        """Of the whole answer."""
        return sum(sentence.tokens for sentence in self.sentences)

    @property
    def claims(self) -> tuple[ClaimCalls, ...]:
        """In the order of the answer."""
        return tuple(claim for sentence in self.sentences for claim in sentence.claims)


def load_workload(path: Path) -> list[ReferenceRequest]:
    """The rows of a recording that make at least one claim.

    Raises:
        ConfigError: a line is malformed; names the file, the line and the field.
    """
    rng = random.Random(LENGTHS_SEED)
    requests = []
    for row in load_rows(path):
        if not row.claims:
            continue
        queries = [rng.randint(*QUERY_TOKENS) for _ in row.claims]
        verdicts = [rng.randint(*VERDICT_TOKENS) for _ in row.claims]
        calls = [
            ClaimCalls(each.claim, each.label, token_count(each.claim), *lengths)
            for each, *lengths in zip(row.claims, queries, verdicts, strict=True)
        ]
        texts = sentences_of(row.response)
        spread: list[list[ClaimCalls]] = [[] for _ in texts]
        for place, call in enumerate(calls):  # the claims are spread over the sentences, in order
            spread[min(len(texts) - 1, place * len(texts) // len(calls))].append(call)
        parts = [SentencePart(t, token_count(t), tuple(c)) for t, c in zip(texts, spread, strict=True)]
        own = token_count(row.prompt) + QUESTION_OWN
        requests.append(ReferenceRequest(row.id, row.prompt, own, row.response.strip(), tuple(parts)))
    return requests


def sentences_of(response: str) -> list[str]:
    """An answer's sentences: cut at white space after . ! ? and nowhere else."""
    return [text for text in _SENTENCE_END.split(response.strip()) if text]


def arrivals(
    requests: list[ReferenceRequest], rate: float, count: int, seed: int | random.Random
) -> Iterator[tuple[float, ReferenceRequest]]:
    """`count` Poisson arrivals at `rate` a second: seconds since the start, and a request drawn with replacement."""
    rng, at = seed if isinstance(seed, random.Random) else random.Random(seed), 0.0
    for _ in range(count):
        at += rng.expovariate(rate)
        yield at, rng.choice(requests)
