"""Which passage of the evidence speaks of a claim: decided by their words, before a model is asked. Pure.

A judge that is shown a fact about something else says something all the same, so it is better not asked.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from alto_streams.pipelines.factcheck.search import Passage

# Words that any two sentences may share. "s" is what is left of "France's".
_COMMON = frozenset(
    "a an and are as at by for from has have in is it its of on or s that the this to was were with".split()  # noqa: SIM905
)
# Of a claim's words, those that a passage has to share if nothing tells what the passage is about.
_SHARE = 0.5
# As much as a small model's odds differ at most between a true and a false claim of one form.
LEANING = 1.5


def best(claim: str, evidence: list[Passage]) -> Passage | None:
    """The passage that says most of what the claim speaks of; None if none speaks of it.

    The longer its subject's name the better: a claim about American Samoa is not about Samoa. Words in lower case say
    what is asked about ("capital"), names are what may be wrong, so the former count before the latter: "The capital of
    Canada is Toronto" is judged by Canada's capital, not by its largest city. Then the better found one counts.
    """
    words = _words(claim)
    asked = _words(" ".join(word for word in _split(claim) if not _is_name(word)))

    def fit(passage: Passage) -> tuple[int, int, int, float]:
        said = _words(passage.text)
        return len(_subject(passage)), len(asked & said), len(words & said), passage.score

    return max((passage for passage in evidence if bears(claim, passage)), key=fit, default=None)


def bears(claim: str, passage: Passage) -> bool:
    """Whether the passage speaks of what the claim speaks of, true or not.

    A passage of a file that is named after its subject: the claim names the subject, and shares one more word with the
    passage. Any other: the claim shares half of its words with it.
    """
    words, said, subject = _words(claim), _words(passage.text), _subject(passage)
    if subject:
        return subject <= words and bool((words & said) - subject)
    return bool(words) and len(words & said) >= _SHARE * len(words)


def leaning(claim: str, fact: str) -> float | None:
    """What the words alone say of the claim, in nats of log-odds: more than 0 for it, less against it.

    For it if the fact has every word of the claim. Against it if the claim has a name or a number that the fact lacks,
    such as another city. None if the fact has a part of that name: "Asia" does not settle "East Asia". Other words may
    be another way to say the same ("uses", "official"), or another thing ("peso"): of those the words say nothing.
    """
    said, words = _words(fact), _split(claim)
    meant = [_root(word, within=place > 0) for place, word in enumerate(words)]
    unsaid = [place for place, root in enumerate(meant) if root and root not in said]
    if not unsaid:
        return LEANING
    names = [_name_at(words, place) for place in unsaid if _is_name(words[place])]
    if not names:
        return 0.0
    return -LEANING if any(said.isdisjoint(meant[first:end]) for first, end in names) else None


def _subject(passage: Passage) -> set[str]:
    """The words of its file's name, if the passage has them all; else nothing tells what it is about."""
    named = _words(PurePosixPath(passage.source).stem.replace("_", " "))
    return named if named <= _words(passage.text) else set()


def _name_at(words: list[str], place: int) -> tuple[int, int]:
    """Where the words in capitals around this one begin and end."""
    first, end = place, place + 1
    while first > 0 and _is_name(words[first - 1]):
        first -= 1
    while end < len(words) and _is_name(words[end]):
        end += 1
    return first, end


def _is_name(word: str) -> bool:
    return word[:1].isupper() or word[:1].isdigit()


def _words(text: str) -> set[str]:
    """Its words that say something, by their roots."""
    return {root for place, word in enumerate(_split(text)) if (root := _root(word, within=place > 0))}


def _split(text: str) -> list[str]:
    """Its words, without accents."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return re.findall(r"\w+", plain)


def _root(word: str, *, within: bool) -> str:
    """In lower case, without a plural's s; nothing of a common word. Inside a sentence "As" is a symbol, "as" not."""
    low = word.lower()
    if low in _COMMON and not (within and word != low and low != "the"):
        return ""
    return low[:-1] if len(low) > 3 and low.endswith("s") else low
