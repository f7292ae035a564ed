"""What the engines write in the reference workload, token by token, so that each item ends at exactly its token."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle, islice, pairwise
from pathlib import Path

import msgspec

from alto_streams.models.scripted import Script
from alto_streams.wire.records import Call
from loadtest.reference.workload import ClaimCalls, ReferenceRequest, load_workload

FILLER = ["it", "is", "what", "the", "sources", "say", "on", "which", "they", "agree", "in", "so", "many", "words"]


def load_script(path: Path) -> Script:
    """What is written for the requests of a recording. Raises as `load_workload`."""
    return script_of(load_workload(path))


def script_of(requests: Iterable[ReferenceRequest]) -> Script:
    """The tokens of every completion, by prompt class and subject."""
    completions = dict(found for request in requests for found in _completions(request))

    def look_up(prompt_class: str, call: Call) -> list[str] | None:
        return completions.get((prompt_class.partition(".")[2], call.subject))

    return look_up


def _completions(request: ReferenceRequest) -> Iterable[tuple[tuple[str, str], list[str]]]:
    sentences = [_cut(f"{part.text} ", part.tokens) for part in request.sentences]
    yield ("answer", request.prompt), [token for sentence in sentences for token in sentence]
    for part in request.sentences:
        if part.claims:
            yield ("claims", part.text), _claim_lines(part.claims)
    # In barrier mode one call is about all of the answer, as it is written above; an answer of one sentence is both.
    yield ("claims", " ".join(part.text for part in request.sentences)), _claim_lines(request.claims)
    for claim in request.claims:
        first, second = (
            _cut(_words(claim, 0), claim.first_query),
            _cut(_words(claim, 7), claim.queries - claim.first_query),
        )
        yield ("queries", claim.text), [*first, *second]
        verdict = msgspec.json.encode({"label": claim.label}).decode() + "\n"
        rest = claim.verdict - claim.verdict_line
        explanation = [f"{word} " for word in islice(cycle(FILLER), rest)]
        yield ("verdict", claim.text), [*_cut(verdict, claim.verdict_line), *explanation]


def _claim_lines(claims: Iterable[ClaimCalls]) -> list[str]:
    lines = ((msgspec.json.encode({"claim": claim.text}).decode() + "\n", claim.line) for claim in claims)
    return [token for line, tokens in lines for token in _cut(line, tokens)]


def _words(claim: ClaimCalls, start: int) -> str:
    """A query of about the claim: as many words as give each of its tokens a letter or two."""
    words = [*claim.text.split(), *FILLER]
    return " ".join(islice(cycle(words), start, start + max(6, claim.queries // 2))) + "\n"


def _cut(text: str, tokens: int) -> list[str]:
    """A text as so many tokens of like length."""
    if len(text) < tokens:
        raise ValueError(f"{len(text)} letters cannot be {tokens} tokens")
    ends = [round(len(text) * n / tokens) for n in range(tokens + 1)]
    return [text[start:end] for start, end in pairwise(ends)]
