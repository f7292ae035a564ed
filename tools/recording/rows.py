"""The rows of the recording: for each shape the draft that is nearest to it, and rows that are unlike the others."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tools.recording import foreign
from tools.recording.drafts import Draft, Unusable, Writer
from tools.recording.shape import CLAIM_WORDS, LONGEST, SHAPES, SHAPES_ONCE, UNPARSED, Shape

Row = dict[str, Any]


@dataclass(frozen=True)
class Broken:
    """Lines that are no claims, and the place of the claim before which they stand; None: there is nothing else."""

    before: int | None
    lines: tuple[str, ...]


SEED = 12
DRAFTS = 400
LISTED = 0.35  # the share of answers of four sentences or more that are written as a list
# Places of rows whose judge was not understood: of one claim, or of some lines of the claims, or of all of them.
UNCLEAR = (40, 51)
BROKEN = {
    44: Broken(1, ('{"claim": "The text also says that the',)),
    58: Broken(2, ("The next claim follows from the one before.", '{"claim": 4}')),
}
UNPARSED_AT = {
    37: Broken(None, ("Sure! Here is what the text claims:", "- the answer above, more or less")),
    49: Broken(None, ('{"statements": ["all of the above"]}',)),
}
PLAIN_ROWS = 32  # the first rows have none of that: for tests that take a few


def rows() -> list[Row]:
    """All rows, the same at every call."""
    order = random.Random(SEED)
    shapes = [*SHAPES, *(each for each in SHAPES[:-1] if each not in SHAPES_ONCE), LONGEST]
    order.shuffle(shapes)
    taken: set[str] = set()
    plain = [_row(_nearest(shape, number, taken)) for number, shape in enumerate(shapes)]
    for number, row in enumerate(foreign.ROWS):
        plain.insert(PLAIN_ROWS + 3 + 4 * number, _foreign(row))
    for place, shape in zip(UNPARSED_AT, UNPARSED, strict=True):
        plain.insert(place, _row(_nearest(shape, place + 1_000, taken)))
    return [_special(number, {"id": f"fact-{number:02}", **row}) for number, row in enumerate(plain)]


def lines(written: Iterable[Row]) -> str:
    """As JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written)


def _nearest(shape: Shape, number: int, taken: set[str]) -> tuple[Draft, str]:
    """Of many drafts the one whose lengths are nearest to the shape's, and its answer. It repeats no other row."""
    found: list[tuple[float, Draft, str]] = []
    for attempt in range(DRAFTS):
        rng = random.Random(f"{SEED}/{number}/{attempt}")
        try:
            draft = Writer(shape, rng).write()
        except Unusable:
            continue
        is_list = len(draft.sentences) > 3 and rng.random() < LISTED
        own = [draft.prompt, *draft.claims, *draft.sentences]
        if len(set(own)) == len(own) and taken.isdisjoint(own) and _is_whole(draft):
            claim_words = sum(len(claim.split()) for claim in draft.claims) / len(draft.claims)
            off = abs(draft.words / shape.words - 1) + 0.4 * abs(claim_words / CLAIM_WORDS - 1)
            found.append((off, draft, ("\n" if is_list else " ").join(_texts(draft, is_list))))
    _, draft, response = min(found, key=lambda each: each[0])
    taken.update((draft.prompt, response, *draft.claims, *draft.sentences))
    return draft, response


def _is_whole(draft: Draft) -> bool:
    """Whether the answer is about all that was asked of."""
    asked = draft.asked
    return asked <= {fact.subject for fact in draft.facts} | {fact.value for fact in draft.facts}


def _texts(draft: Draft, is_list: bool) -> Iterator[str]:
    first, *rest = draft.sentences
    yield first
    yield from (f"- {each}" if is_list else each for each in rest)


def _row(written: tuple[Draft, str]) -> Row:
    draft, response = written
    claims = [(claim, fact.label) for claim, fact in zip(draft.claims, draft.facts, strict=True)]
    return _as_row(draft.prompt, response, claims)


def _foreign(row: foreign.ForeignRow) -> Row:
    return {**_as_row(row.prompt, foreign.response_of(row), foreign.facts_of(row)), "language": row.language}


def _as_row(prompt: str, response: str, claims: list[tuple[str, bool]]) -> Row:
    return {
        "prompt": prompt,
        "response": response,
        "claims": [{"claim": claim, "label": label} for claim, label in claims],
        "label": all(label for _, label in claims),
    }


def _special(number: int, row: Row) -> Row:
    if number in UNCLEAR:
        row["claims"][-1]["label"] = None
    elif broken := (BROKEN | UNPARSED_AT).get(number):
        row["claims"] = [] if broken.before is None else row["claims"]
        row["broken_lines"] = [{"before": broken.before or 0, "line": line} for line in broken.lines]
    known = [each["label"] for each in row["claims"] if each["label"] is not None]
    row["label"] = all(known) if row["claims"] else None
    return row
