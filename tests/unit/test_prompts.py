"""The prompts keep their promises: what is shared comes first, and what they show is what their parsers read."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

import pytest

from alto_streams.define.parsers import JsonLines, Lines
from alto_streams.define.pipeline import Prompt
from alto_streams.pipelines.factcheck import Claim, prompts
from alto_streams.pipelines.factcheck.search import Passage
from alto_streams.pipelines.factcheck.verdict import Verdict, VerdictLine
from alto_streams.wire.records import Call

FACT = Passage("a.txt", "The capital of Mali is Bamako.", 2.0)
STAGES: dict[str, Callable[[str], Prompt[Any]]] = {
    "answer": lambda text: prompts.answer(text, Lines(str)),
    "claims": lambda text: prompts.claims(text, JsonLines(Claim)),
    "queries": lambda text: prompts.queries(text, Lines(str)),
    "verdict": lambda text: prompts.verdict(text, [FACT], VerdictLine(text, [FACT])),
}


def written(call: Call) -> str:
    return "\n".join(f"{message.role}: {message.content}" for message in call.messages)


@pytest.mark.parametrize("stage", STAGES)
def test_all_but_the_end_of_a_prompt_is_shared(stage: str) -> None:
    one, two = (written(STAGES[stage](text).call()) for text in ("Bamako is in Mali.", "Mali's capital is Xenon."))
    shared = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
    assert len(shared) > 200
    assert len(one) - len(shared) < 200


@pytest.mark.parametrize("stage", STAGES)
def test_a_call_is_looked_up_by_what_it_is_about(stage: str) -> None:
    assert STAGES[stage]("Bamako is in Mali.").call().subject == "Bamako is in Mali."


@pytest.mark.parametrize("stage", ["claims", "queries", "verdict"])
def test_text_of_several_lines_stays_one_line_of_the_case(stage: str) -> None:
    assert "Bamako is\n" not in written(STAGES[stage]("Bamako is\n\nin Mali.").call())
    assert "Bamako is in Mali." in written(STAGES[stage]("Bamako is\n\nin Mali.").call())


def test_the_examples_of_claims_are_what_the_parser_reads() -> None:
    lines = [line for line in prompts.CLAIMS_EXAMPLES.splitlines() if line.startswith("{")]
    parser = JsonLines(Claim)
    found = parser.feed("\n".join(lines)) + parser.close()
    assert len(lines) >= 4
    assert all(isinstance(item, Claim) for item in found)


def test_every_choice_of_the_verdict_is_a_verdict() -> None:
    call = STAGES["verdict"]("Bamako is in Mali.").call()
    assert call.choices is not None
    found = []
    for choice in call.choices:
        parser = VerdictLine("c", [])
        found += parser.feed(choice) + parser.close()
    assert [getattr(item, "verdict", None) for item in found] == [True, False]


def test_the_verdict_sees_the_passage_that_says_most_about_the_claim() -> None:
    other = Passage("b.txt", "Mali is in Africa.", 9.0)
    call = prompts.verdict("Bamako is the capital of Mali.", [other, FACT], VerdictLine("c", [])).call()
    case = written(call).rpartition("\n\n")[2]
    assert FACT.text in case
    assert other.text not in case


@pytest.mark.parametrize("evidence", [[], [Passage("countries/peru.txt", "The capital of Peru is Lima.", 9.0)]])
def test_without_evidence_that_speaks_of_the_claim_there_is_nothing_to_say_but_that(evidence: list[Passage]) -> None:
    claim = "Bamako is the capital of Mali."
    call = prompts.verdict(claim, evidence, VerdictLine(claim, evidence)).call()
    assert prompts.NO_FACT in written(call)
    (choice,) = call.choices or []
    (found,) = VerdictLine(claim, []).feed(choice + "\n")
    assert isinstance(found, Verdict)
    assert found.verdict is None


def test_examples_are_half_true_half_false() -> None:
    labels = [label for _, _, label in prompts._CASES]
    assert labels.count(True) == labels.count(False)
