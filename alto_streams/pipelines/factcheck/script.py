"""Reads a recording of fact checks, so that a scripted engine can play it.

One JSON object per line: `id`, `prompt`, `response`, and `claims`, each with its `claim` and `label` (true, false, or
null for a judgement that cannot be parsed). `broken_lines` may be missing. It has lines of the claims calls that are no
claims: `line` is written before the claim with the number `before`. A call is known by what it is about: the question,
a sentence of the response (or all of it, where one call takes it whole), or a claim.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from alto_streams.define.parsers import Sentences
from alto_streams.define.pipeline import ParseFailure
from alto_streams.errors import ConfigError
from alto_streams.recordings.files import read_lines
from alto_streams.wire.records import Call

Script = Callable[[str, Call], str | None]

QUERY_WORDS = (15, 29)  # 20 to 40 tokens at 1.35 a word
VERDICT_WORDS = (37, 81)  # 50 to 110 tokens
FILLER = ("it", "is", "what", "the", "sources", "say", "on", "which", "they", "agree", "in", "so", "many", "words")


class RecordedClaim(msgspec.Struct, frozen=True):
    """A claim of a recorded response with what a judge shall say of it."""

    claim: str
    label: bool | None


class BrokenLine(msgspec.Struct, frozen=True):
    """What a claims call wrote that is no claim: before the claim with this number, from 0, or behind the last one."""

    before: Annotated[int, msgspec.Meta(ge=0)]
    line: str


class RecordedRow(msgspec.Struct, frozen=True):
    """One recorded request."""

    id: str
    prompt: str
    response: str
    claims: list[RecordedClaim]
    broken_lines: list[BrokenLine] = []


def load_script(path: Path) -> Script:
    """The completions of a recording, by prompt class and subject.

    Raises:
        ConfigError: a line is malformed; names the file, the line and the field.
    """
    completions: dict[tuple[str, str], str] = {}
    for row in load_rows(path):
        completions |= _completions(row)

    def look_up(prompt_class: str, call: Call) -> str | None:
        return completions.get((prompt_class, call.subject))

    return look_up


def load_rows(path: Path) -> list[RecordedRow]:
    """The rows of a recording. Raises `ConfigError` as `load_script`."""
    decode = msgspec.json.Decoder(RecordedRow).decode
    rows = []
    for number, line in read_lines(path):
        try:
            rows.append(decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
    return rows


def _completions(row: RecordedRow) -> dict[tuple[str, str], str]:
    found = {("factcheck.answer", row.prompt): row.response}
    sentences = _sentences(row.response)
    lines = _claim_lines(row)
    spread = [""] * len(sentences)
    for n, line in enumerate(lines):
        if sentences:
            # What stands behind the last claim is of the last sentence.
            spread[min(len(sentences) - 1, n * len(sentences) // max(1, len(row.claims)))] += line
    for sentence, written in zip(sentences, spread, strict=True):
        found["factcheck.claims", sentence] = written
    # The whole response is what one call for all of it is about; a response of one sentence is both.
    found["factcheck.claims", row.response.strip()] = "".join(lines)
    for each in row.claims:
        rng = random.Random(each.claim)
        found["factcheck.queries", each.claim] = _queries(each.claim, rng)
        found["factcheck.verdict", each.claim] = _verdict(each.label, rng)
    return found


def _sentences(response: str) -> list[str]:
    parser = Sentences(str)
    found = [*parser.feed(response), *parser.close()]
    return [sentence for sentence in found if not isinstance(sentence, ParseFailure)]


def _claim_lines(row: RecordedRow) -> list[str]:
    """What is written up to the end of each claim, with the broken lines before it; at last what follows all claims."""
    broken = [""] * (len(row.claims) + 1)
    for each in row.broken_lines:
        broken[min(each.before, len(row.claims))] += each.line + "\n"
    claims = [msgspec.json.encode({"claim": each.claim}).decode() + "\n" for each in row.claims]
    return [before + claim for before, claim in zip(broken, [*claims, ""], strict=True)]


def _queries(claim: str, rng: random.Random) -> str:
    words = claim.split()
    most = rng.randint(*QUERY_WORDS)
    first = words[: most // 2]
    return " ".join(first) + "\n" + " ".join([*words, *words[: max(1, most - len(first) - len(words))]]) + "\n"


def _verdict(label: bool | None, rng: random.Random) -> str:
    word = "unclear what to say" if label is None else "True" if label else "False"
    explanation = [rng.choice(FILLER) for _ in range(rng.randint(*VERDICT_WORDS))]
    return f"{word}\n{' '.join(explanation)}.\n"
