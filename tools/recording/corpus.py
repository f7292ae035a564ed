"""What the bundled corpora say, as values: one subject a file, one value or more for each kind of fact."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[2] / "alto_streams" / "pipelines" / "factcheck" / "corpus"

# How the corpora say each kind of fact: the subject, then the value.
COUNTRY = {
    "capital": r"The capital of (.+) is (.+)\.",
    "continent": r"(.+) is (?:located )?in (Africa|Asia|Europe|Oceania|North America|South America)\.",
    "currency": r"The currency of (.+) is the (.+)\.",
    "population": r"The population of (.+) is about (.+)\.",
    "area": r"The area of (.+) is about (.+) square kilometres\.",
    "border": r"(.+) borders (.+)\.",
    "city": r"The largest city of (.+) is (.+)\.",
    "domain": r"The internet domain of (.+) is (.+)\.",
}
ELEMENT = {
    "symbol": r"The chemical symbol of (.+) is (.+)\.",
    "number": r"The atomic number of (.+) is (.+)\.",
    "series": r"(.+) is (an? (?:noble gas|.*metal|metalloid|halogen|lanthanide|actinide))\.",
    "weight": r"The atomic weight of (.+) is about (.+)\.",
    "period": r"(.+) is in period (\d+)(?: and in group \d+)? of the periodic table\.",
    "group": r"(.+) is in period \d+ and in group (\d+) of the periodic table\.",
    "year": r"(.+) was discovered in (.+)\.",
}
SIZES = {"million": 10**6, "billion": 10**9}


@dataclass(frozen=True)
class Subject:
    """A country or an element: its name inside a sentence, and its values by kind of fact; a border has several."""

    name: str
    values: dict[str, tuple[str, ...]]

    def value(self, kind: str) -> str:
        """The only value, or the first one."""
        return self.values[kind][0]

    def amount(self, kind: str) -> float:
        """A value that is a number, as a number."""
        number, _, word = self.value(kind).replace(",", "").partition(" ")
        return float(number) * SIZES.get(word, 1)


def countries(names: tuple[str, ...]) -> dict[str, Subject]:
    """The countries whose files are so called, by these names."""
    return {name: _subject(CORPUS / "countries" / f"{name}.txt", COUNTRY) for name in names}


def elements(names: tuple[str, ...]) -> dict[str, Subject]:
    """The elements whose files are so called, by these names."""
    return {name: _subject(CORPUS / "elements" / f"{name}.txt", ELEMENT) for name in names}


def _subject(path: Path, patterns: dict[str, str]) -> Subject:
    lines = path.read_text(encoding="utf-8").splitlines()
    values: dict[str, tuple[str, ...]] = {}
    name = ""
    for kind, pattern in patterns.items():
        for match in (re.fullmatch(pattern, line) for line in lines):
            if match is not None:
                # Only these two say a name in the middle of the sentence, as it is written there.
                name = match[1] if kind in ("capital", "symbol") else name
                values[kind] = tuple(re.split(r", | and ", match[2])) if kind == "border" else (match[2],)
    return Subject(name, values)
