"""Terms of a text, each with its meaning: a map looks a term up while the model still writes the next one.

text -> terms (one a line) -> meanings (looked up) -> glossary
"""

from alto_streams import Gather, Lines, Message, Pipeline, Prompt, Record

KNOWN = {
    "basalt": "a dark rock that forms from lava",
    "lava": "molten rock that has reached the surface",
    "magma": "molten rock below the surface",
}


class Text(Record):
    text: str


class Term(Record):
    term: str


class Meaning(Record):
    term: str
    meaning: str


class Glossary(Record):
    meanings: dict[str, str]
    unknown: list[str]


class Dictionary:
    """Where terms are looked up; a real one would ask a database."""

    async def meaning(self, term: str) -> str | None:
        return KNOWN.get(term.lower())


pipeline = Pipeline("glossary", request=Text)
LIST = [Message("system", "List the technical terms of the text, one per line.")]


@pipeline.resource
def dictionary() -> Dictionary:
    """Made once per worker; stages take it by its type."""
    return Dictionary()


@pipeline.generate(model="chat")
def terms(text: Text) -> Prompt[Term]:
    return Prompt(fixed=LIST, variable=text.text, parse=Lines(Term, limit=20), max_tokens=120)


@pipeline.map(show="items", timeout_s=10)
async def meanings(term: Term, dictionary: Dictionary) -> list[Meaning]:
    """No item where nothing is known."""
    found = await dictionary.meaning(term.term)
    return [] if found is None else [Meaning(term.term, found)]


@pipeline.gather
def glossary(terms: Gather[Term], meanings: Gather[Meaning]) -> Glossary:
    known = {each.term: each.meaning for each in meanings}
    return Glossary(known, [each.term for each in terms if each.term not in known])
