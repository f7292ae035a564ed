"""Fact checking: a chatbot's answer is split into claims, and each claim is judged by evidence while it still writes.

    question -> answer (sentences) -> claims -> two queries each -> evidence -> verdict -> report

After FacTool (Chern et al. 2023), but each verdict joins exactly the evidence of its own claim, and every call starts
as soon as its inputs exist.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from alto_streams.define.options import Flag, Folder
from alto_streams.define.parsers import JsonLines, Lines, Sentences
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.pipelines.factcheck import prompts
from alto_streams.pipelines.factcheck.script import load_script as script
from alto_streams.pipelines.factcheck.search import CORPUS, Passage, Search, corpus_setting, open_search
from alto_streams.pipelines.factcheck.verdict import Verdict, verdict_line
from alto_streams.pipelines.factcheck.view import FactcheckView

PASSAGES_PER_QUERY = 2


class Question(Record):
    """What the user asks. `stop_at_first_false`: judge no more claims once one is known to be false."""

    prompt: Annotated[str, Meta(min_length=1)]
    stop_at_first_false: bool = False


class Sentence(Record):
    """One sentence of the answer."""

    text: str


class Claim(Record):
    """One checkable statement, understood without its context."""

    claim: str


class Query(Record):
    """What to search for."""

    query: str


class Checked(Record):
    """One claim of the answer with what became of it; `verdict` is null where there is none, and `cause` says why.

    Null with the status `ok`: the judge abstained, because no evidence speaks of the claim or it is not sure.
    """

    claim: str
    verdict: bool | None
    confidence: float | None
    status: str
    cause: str | None
    evidence: list[Passage]


class Report(Record):
    """The claims in the order of the answer."""

    claims: list[Checked]


__all__ = ["pipeline", "script"]

pipeline = Pipeline(
    "factcheck",
    request=Question,
    view=FactcheckView(),
    options=[
        Flag("--stop-at-first-false", "End a request at its first false claim.", {"stop_at_first_false": True}),
        Folder("--corpus", "A folder of text files to search for evidence.", CORPUS),
    ],
)


@pipeline.resource
def search() -> Search:
    return open_search(corpus_setting())


@pipeline.generate(model="chat", show="text")
def answer(question: Question) -> Prompt[Sentence]:
    return prompts.answer(question.prompt, parse=Sentences(Sentence))


@pipeline.generate(model="judge")
def claims(sentence: Sentence) -> Prompt[Claim]:
    return prompts.claims(sentence.text, parse=JsonLines(Claim))


@pipeline.generate(model="judge", show="nothing")
def queries(claim: Claim) -> Prompt[Query]:
    return prompts.queries(claim.claim, parse=Lines(Query, limit=2))


@pipeline.map()
async def evidence(query: Query, search: Search) -> list[Passage]:
    return await search.search(query.query, PASSAGES_PER_QUERY)


@pipeline.generate(model="judge")
def verdict(claim: Claim, found: Gather[Passage]) -> Prompt[Verdict]:
    evidence = _distinct(found)
    parse = verdict_line(claim.claim, evidence)
    return prompts.verdict(claim.claim, evidence, parse)


def one_is_false(question: Question, claims: Gather[Claim], verdicts: Gather[Verdict]) -> bool:
    """Whether nothing more needs to be judged."""
    return question.stop_at_first_false and any(judged.verdict is False for judged in verdicts)


@pipeline.gather(enough=one_is_false)
def report(question: Question, claims: Gather[Claim], verdicts: Gather[Verdict]) -> Report:
    return Report([_checked(path, claim.claim, verdicts) for path, claim in claims.items()])


pipeline.examples(
    Question("What is the capital of Nauru?"),
    Sentence("Nauru is located in Oceania."),
    Claim("Nauru is located in Oceania."),
    Passage("countries/nauru.txt", "Nauru is located in Oceania."),
)


def _distinct(found: Gather[Passage]) -> list[Passage]:
    """Each passage once, with its best score: both queries may have found it."""
    best: dict[tuple[str, str], Passage] = {}
    for passage in found:
        key = (passage.source, passage.text)
        if key not in best or passage.score > best[key].score:
            best[key] = passage
    return list(best.values())


def _checked(path: str, claim: str, verdicts: Gather[Verdict]) -> Checked:
    for judged in verdicts.under(path):
        return Checked(claim, judged.verdict, judged.confidence, "ok", None, judged.evidence)
    cause = next((cause for at, cause in verdicts.failures.items() if at == path or at.startswith(path + "/")), None)
    if cause is None and not verdicts.complete:
        return Checked(claim, None, None, "cancelled", "not judged before the request ended", [])
    return Checked(claim, None, None, "failed", cause or "no verdict", [])
