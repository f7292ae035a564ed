"""Drafts of a row: sentences about one subject, two, or many, and the claims that each of them makes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tools.recording import facts
from tools.recording.corpus import Subject
from tools.recording.facts import COUNTRIES, ELEMENTS, Fact
from tools.recording.frames import ASIDES, FIRST_OPENERS, LATER_OPENERS, WORDINGS
from tools.recording.questions import ASKED, AT_LARGE, OF_MANY
from tools.recording.shape import CLAIM_WORDS, CLAIM_WORDS_SPREAD, PROMPT_WORDS, PROMPT_WORDS_SPREAD, Shape

FALSE_ROWS, FALSE_CLAIMS = 0.55, 0.4  # the share of rows with false claims, and of such a row's claims
OPENED, CLOSED = 0.25, 0.25  # the share of sentences with something before or behind them
NAMING = ("capital", "city", "border")  # clauses that name something else that "it" could be
PLAIN_KINDS = ("continent", "number", "series")  # "the country is a country in Asia" would be odd


class Unusable(Exception):
    """The draft cannot be finished: the subjects have no more to be said, or two are too alike to be compared."""


@dataclass
class Draft:
    """A question, and an answer in sentences with what each states."""

    prompt: str = ""
    asked: set[str] = field(default_factory=set)  # the subjects that it names
    sentences: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)

    @property
    def words(self) -> int:
        """Of the answer."""
        return sum(len(sentence.split()) for sentence in self.sentences)


class Writer:
    """Writes one draft."""

    def __init__(self, shape: Shape, rng: random.Random) -> None:
        self._shape, self._rng, self._draft = shape, rng, Draft()
        self._false = FALSE_CLAIMS if rng.random() < FALSE_ROWS else 0.0
        self._left: dict[str, list[str]] = {}  # by subject, the kinds of which nothing was said
        self._before = ""  # the subject of the sentence before, if it was one
        self._unused = {"first": [*FIRST_OPENERS], "later": [*LATER_OPENERS], "asides": [*ASIDES]}

    def write(self) -> Draft:
        """Raises `Unusable`."""
        subjects = self._subjects()
        for number in range(self._shape.sentences):
            count = self._shape.claims_of(number)
            stated = self._first(subjects, count) if number == 0 else self._next(subjects, count)
            text = "".join(self._around(stated, "later" if number else "first"))
            self._draft.sentences.append(_start(text) + ".")
        self._draft.claims = [self._claim(each) for each in self._draft.facts]
        return self._draft

    def _subjects(self) -> list[Subject]:
        known = list((COUNTRIES if self._rng.random() < 0.62 else ELEMENTS).values())
        most = 1 if self._shape.claims < 3 else 2 if self._shape.claims < 8 else 3
        return self._rng.sample(known, self._rng.randint(1 if self._shape.claims < 8 else 2, most))

    def _labels(self, count: int) -> list[bool]:
        return [self._rng.random() >= self._false for _ in range(count)]

    # What a sentence states

    def _first(self, subjects: list[Subject], count: int) -> str:
        """The sentence that the question asks for."""
        if count >= 3 and self._rng.random() < 0.4:
            return self._many(subjects, count)
        if len(subjects) > 1 and count < 3:
            return self._compared(subjects, count)
        if self._shape.claims > 5 or count > 2:
            self._draft.asked = {each.name for each in subjects}
            self._ask(AT_LARGE, s=_list([each.name for each in subjects]))
            return self._about(subjects[0], count)
        del subjects[1:]
        text = self._about(subjects[0], count)
        first = self._draft.facts[0]
        self._ask(ASKED[first.kind], s=first.subject, v=first.value)
        return text

    def _next(self, subjects: list[Subject], count: int) -> str:
        able = [each for each in subjects if self._room(each) >= count]
        if not able:
            raise Unusable
        return self._about(self._rng.choice(able), count)

    def _many(self, subjects: list[Subject], count: int) -> str:
        """Many subjects of one value; the sentences after it are about those that it names truly."""
        of = [subjects[0], *facts.others(subjects[0])]
        kind = self._rng.choice([kind for kind in OF_MANY if kind in subjects[0].values])
        value = subjects[0].value(kind)
        labels = self._labels(count)
        if sum(kind in each.values and each.value(kind) == value for each in of) < max(2, sum(labels)):
            raise Unusable
        stated = facts.members(kind, value, labels, of, self._rng)
        self._say(stated)
        subjects[:] = [each for each in of if any(each.name == fact.subject and fact.label for fact in stated)]
        if not subjects:
            raise Unusable
        for each in subjects:
            self._kinds(each).remove(kind)
        self._before = ""
        self._ask(OF_MANY[kind], v=value, p=_plural(value))
        frame = self._rng.choice(WORDINGS[kind].group)
        return frame.format(s=_list([fact.subject for fact in stated]), v=value, p=_plural(value))

    def _compared(self, subjects: list[Subject], count: int) -> str:
        del subjects[2:]
        kinds = ("people", "size") if "capital" in subjects[0].values else ("heavier",)
        kind = self._rng.choice(kinds)
        stated = facts.comparison(subjects[0], subjects[1], kind, self._labels(1)[0])
        if stated is None:
            raise Unusable
        self._say([stated])
        named = self._rng.sample([stated.subject, stated.value], 2)
        self._ask(ASKED[kind], s=named[0], v=named[1])
        text = self._rng.choice(WORDINGS[kind].main).format(s=stated.subject, v=stated.value)
        self._before = ""
        if count == 2:
            about = next(each for each in subjects if each.name == stated.value)
            text += f", and {self._about(about, 1)}"
        return text

    def _about(self, subject: Subject, count: int) -> str:
        """So many facts of one subject: a clause that names it, and some that go on."""
        clauses: list[list[Fact]] = []
        while (room := count - sum(len(each) for each in clauses)) > 0:
            kinds = self._kinds(subject)
            if not kinds:
                raise Unusable
            kind = kinds.pop(self._rng.randrange(len(kinds)))
            if kind == "border":
                most = min(room, len(subject.values["border"]), 4)
                clauses.append(facts.borders(subject, self._labels(self._rng.randint(1, most)), self._rng))
            else:
                clauses.append([facts.fact(subject, kind, self._labels(1)[0], self._rng)])
        clauses.sort(key=lambda each: len(each) > 1)  # a list is best told last
        self._say([fact for clause in clauses for fact in clause])
        return "".join(self._clauses(subject, clauses))

    def _say(self, stated: Sequence[Fact]) -> None:
        self._draft.facts += stated

    # How it is worded

    def _clauses(self, subject: Subject, clauses: list[list[Fact]]) -> Iterator[str]:
        name = subject.name
        opening, *rest = clauses
        if rest and (first := WORDINGS[opening[0].kind].first) and self._rng.random() < 0.5:
            yield self._rng.choice(first).format(v=opening[0].value)
            opening, *rest = rest
            mains = [frame for frame in WORDINGS[opening[0].kind].main if frame.startswith("{s}")]
        else:
            mains = list(WORDINGS[opening[0].kind].main)
        if rest and opening[0].kind in NAMING:
            mains = [frame for frame in mains if frame.startswith("{s}")]
        if not mains:
            raise Unusable
        if self._before == name and opening[0].kind not in PLAIN_KINDS and self._rng.random() < 0.5:
            name = "the country" if "capital" in subject.values else "the element"
        self._before = subject.name
        yield self._rng.choice(mains).format(s=name, v=_list([each.value for each in opening]))
        for number, clause in enumerate(rest, 1):
            yield ", and " if number == len(rest) else ", "
            yield self._rng.choice(WORDINGS[clause[0].kind].more).format(v=_list([each.value for each in clause]))

    def _around(self, text: str, openers: str) -> Iterator[str]:
        """With what states nothing before or behind it; no row says such a thing twice."""
        for kind, share in ((openers, OPENED), ("", 1.0), ("asides", CLOSED)):
            if not kind:
                yield text
            elif self._rng.random() < share:
                unused = self._unused[kind]
                yield unused.pop(self._rng.randrange(len(unused)))

    def _claim(self, fact: Fact) -> str:
        """The fact by itself, about as long as claims are."""
        wanted = self._rng.gauss(CLAIM_WORDS, CLAIM_WORDS_SPREAD)
        return _start(_nearest(WORDINGS[fact.kind].claims, wanted, s=fact.subject, v=fact.value))

    def _ask(self, frames: Sequence[str], **names: str) -> None:
        wanted = self._rng.gauss(PROMPT_WORDS, PROMPT_WORDS_SPREAD)
        self._draft.prompt = _nearest(frames, wanted, **names)

    def _kinds(self, subject: Subject) -> list[str]:
        return self._left.setdefault(subject.name, facts.kinds_of(subject))

    def _room(self, subject: Subject) -> int:
        kinds = self._kinds(subject)
        return len(kinds) + ("border" in kinds and min(3, len(subject.values["border"]) - 1))


def _nearest(frames: Sequence[str], words: float, **names: str) -> str:
    return min((frame.format(**names) for frame in frames), key=lambda text: abs(len(text.split()) - words))


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _plural(value: str) -> str:
    """Of a family of elements with its article."""
    name = value.partition(" ")[2]
    return f"{name}es" if name.endswith("s") else f"{name}s"
