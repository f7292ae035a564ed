"""True and false claims made from the bundled corpus, half and half, for measuring a judge."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from alto_streams.pipelines.factcheck.search import BUNDLED

CONTINENT = r"(Africa|Asia|Europe|Oceania|North America|South America)"
# Relation: how the corpus says it (subject, object), and how claims say it.
RELATIONS = {
    "capital": (
        r"The capital of (.+) is (.+)\.",
        ("The capital of {s} is {o}.", "{o} is the capital of {s}."),
    ),
    "continent": (rf"(.+) is located in {CONTINENT}\.", ("{S} is located in {o}.", "{S} is a country located in {o}.")),
    "city": (
        r"The largest city of (.+) is (.+)\.",
        ("The largest city of {s} is {o}.", "{o} is the largest city in {s}."),
    ),
    "currency": (
        r"The currency of (.+) is the (.+) \([A-Z]+\)\.",
        ("The currency of {s} is the {o}.", "{S} uses the {o} as its currency."),
    ),
    "symbol": (
        r"The chemical symbol of (.+) is (.+)\.",
        ("The chemical symbol of {s} is {o}.", "{o} is the chemical symbol of {s}."),
    ),
    "number": (
        r"The atomic number of (.+) is (.+)\.",
        ("The atomic number of {s} is {o}.", "{S} has the atomic number {o}."),
    ),
}
# Subjects of the examples in the prompt: a claim about them would measure copying.
SHOWN = {
    "Kenya", "Peru", "Nepal", "Sweden", "Poland", "Portugal", "Fiji", "Ghana", "Cuba", "Chile", "Japan", "Mali",
    "Oman", "Togo", "Laos", "Haiti", "iron", "boron", "iodine",
    "neon", "zinc", "gold", "argon", "tin",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    """A claim, whether it is true by the corpus, and its relation."""

    claim: str
    label: bool
    relation: str


def claim_sets(calibration: int, held_out: int, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Two sets of claims that share no subject, whatever the seed; in each, as many true as false ones a relation.

    So whatever is chosen on the first of them, prompts too, has not seen what the second asks about. A false claim has
    the object of another subject of the same relation.
    """
    rng = random.Random(seed)
    halves: list[dict[str, list[tuple[str, str]]]] = []
    for half in (0, 1):
        facts = {
            relation: sorted(fact for fact in _facts(pattern) if zlib.crc32(fact[0].lower().encode()) % 2 == half)
            for relation, (pattern, _) in RELATIONS.items()
        }
        for known in facts.values():
            rng.shuffle(known)
        halves.append(facts)
    return _draw(calibration, halves[0], rng), _draw(held_out, halves[1], rng)


def _draw(count: int, facts: dict[str, list[tuple[str, str]]], rng: random.Random) -> list[Labelled]:
    objects = {relation: sorted({_object for _, _object in _facts(RELATIONS[relation][0])}) for relation in RELATIONS}
    claims = []
    for place in range(count):
        relation = list(RELATIONS)[place // 2 % len(RELATIONS)]
        label = place % 2 == 0
        subject, stated = facts[relation].pop()
        if not label:
            stated = rng.choice([other for other in objects[relation] if other != stated])
        form = rng.choice(RELATIONS[relation][1])
        start = subject[:1].upper() + subject[1:]
        text = form.format(s=subject, S=start, o=stated)
        claims.append(Labelled(text[:1].upper() + text[1:], label, relation))
    return claims


def _facts(pattern: str) -> Iterator[tuple[str, str]]:
    for path in sorted(BUNDLED.rglob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if (found := re.fullmatch(pattern, line)) and found[1] not in SHOWN:
                yield found[1], found[2]
