"""Facts as an answer states them: true ones from the corpora, and false ones that have another subject's value."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tools.recording.corpus import Subject, countries, elements

COUNTRIES = countries(
    (
        "albania", "algeria", "angola", "argentina", "armenia", "australia", "austria", "bangladesh", "belgium",
        "bolivia", "botswana", "brazil", "bulgaria", "cambodia", "cameroon", "canada", "chile", "costa-rica",
        "croatia", "cuba", "czechia", "denmark", "ecuador", "estonia", "ethiopia", "finland", "france", "gabon",
        "germany", "ghana", "greece", "guatemala", "hungary", "iceland", "india", "indonesia", "iran", "ireland",
        "italy", "jamaica", "japan", "kenya", "laos", "latvia", "lithuania", "madagascar", "malaysia", "mali",
        "mexico", "mozambique", "namibia", "nepal", "new-zealand", "nicaragua", "niger", "nigeria", "norway",
        "pakistan", "panama", "paraguay", "peru", "poland", "portugal", "romania", "rwanda", "senegal", "slovakia",
        "slovenia", "south-africa", "spain", "sweden", "switzerland", "tanzania", "thailand", "tunisia", "turkey",
        "uganda", "united-states", "uruguay", "vietnam", "zambia", "zimbabwe",
    )
)  # fmt: skip
ELEMENTS = elements(
    (
        "aluminum", "argon", "arsenic", "barium", "beryllium", "bismuth", "boron", "bromine", "calcium", "carbon",
        "cesium", "chlorine", "chromium", "cobalt", "copper", "fluorine", "gallium", "germanium", "gold", "helium",
        "hydrogen", "iodine", "iron", "krypton", "lead", "lithium", "magnesium", "manganese", "mercury", "neon",
        "nickel", "nitrogen", "oxygen", "phosphorus", "platinum", "potassium", "radium", "radon", "rubidium",
        "selenium", "silicon", "silver", "sodium", "strontium", "sulfur", "tin", "titanium", "tungsten", "uranium",
        "vanadium", "xenon", "zinc",
    )
)  # fmt: skip
COMPARED = {"people": "population", "size": "area", "heavier": "weight"}
"""A kind of comparison, and the kind of the amounts that it compares: the subject's is the greater one."""
FAR_APART = 1.15  # amounts are rounded: what is compared, and a false amount, differs by more than that


@dataclass(frozen=True)
class Fact:
    """What is said of a subject, and whether it is so."""

    kind: str
    subject: str
    value: str
    label: bool


def others(subject: Subject) -> list[Subject]:
    """The subjects of the same sort."""
    known = COUNTRIES if "capital" in subject.values else ELEMENTS
    return [each for each in known.values() if each is not subject]


def kinds_of(subject: Subject) -> list[str]:
    """What can be said of it, apart from comparisons."""
    return list(subject.values)


def fact(subject: Subject, kind: str, label: bool, rng: random.Random) -> Fact:
    """One fact, or with label False what is so of another subject and not of this one."""
    if label:
        return Fact(kind, subject.name, rng.choice(subject.values[kind]), True)
    wrong = [each.value(kind) for each in others(subject) if _is_wrong(subject, kind, each)]
    return Fact(kind, subject.name, rng.choice(wrong), False)


def borders(subject: Subject, labels: Sequence[bool], rng: random.Random) -> list[Fact]:
    """So many neighbours, each of them one; a false one is a country that is elsewhere."""
    true = rng.sample(subject.values["border"], sum(labels))
    near = {subject.name, *subject.values["border"]}
    false = rng.sample([each.name for each in others(subject) if each.name not in near], len(labels) - len(true))
    return [Fact("border", subject.name, true.pop() if label else false.pop(), label) for label in labels]


def comparison(one: Subject, other: Subject, kind: str, label: bool) -> Fact | None:
    """One of them has the greater amount; None if they are too near to each other to say."""
    amounts = {each.name: each.amount(COMPARED[kind]) for each in (one, other)}
    less, more = sorted(amounts, key=amounts.__getitem__)
    if amounts[more] < amounts[less] * FAR_APART:
        return None
    return Fact(kind, more, less, True) if label else Fact(kind, less, more, False)


def members(kind: str, value: str, labels: Sequence[bool], of: Sequence[Subject], rng: random.Random) -> list[Fact]:
    """So many subjects that have this value, and as false ones some that have another."""
    inside = [each.name for each in of if kind in each.values and each.value(kind) == value]
    outside = [each.name for each in of if kind in each.values and each.value(kind) != value]
    true, false = rng.sample(inside, sum(labels)), rng.sample(outside, len(labels) - sum(labels))
    return [Fact(kind, true.pop() if label else false.pop(), value, label) for label in labels]


def _is_wrong(subject: Subject, kind: str, other: Subject) -> bool:
    if kind not in other.values or other.value(kind) in subject.values[kind]:
        return False
    if kind in ("population", "area", "weight"):
        less, more = sorted((subject.amount(kind), other.amount(kind)))
        return more > less * FAR_APART
    # A capital is often the largest city: a false one must be neither.
    return other.value(kind) not in {subject.value(each) for each in ("capital", "city") if each in subject.values}
