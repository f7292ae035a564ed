"""The project's recording: written anew it is the same; its labels are the corpora's, its lengths the workload's."""

from __future__ import annotations

import json
import re
from collections import Counter
from statistics import mean, median

import pytest

from alto_streams.define.parsers import JsonLines, Sentences
from alto_streams.define.pipeline import ParseFailure
from alto_streams.pipelines import factcheck
from alto_streams.pipelines.factcheck import Claim
from alto_streams.simulator import SimulatedRequest, SimulatedSystem, simulate
from alto_streams.wire.records import Mode
from loadtest.console import RECORDING
from loadtest.reference.workload import load_workload, sentences_of
from tools.recording.facts import COUNTRIES, ELEMENTS, comparison
from tools.recording.rows import PLAIN_ROWS, Row, lines, rows

# Of FacTool's knowledge QA: the mean, the median, and what nine of ten do not exceed.
LENGTHS = {
    "words of an answer": (41.80, 31, 93),
    "sentences of an answer": (2.34, 2, 4),
    "words of a sentence": (17.86, 17, 30),
    "claims of an answer": (4.66, 4, 9),
    "claims of a sentence": (1.99, 2, 3),
    "words of a claim": (9.45, 9, 13),
}
# A word by which a claim is of a kind, the kinds in the order in which they are looked for.
KIND_WORDS = {
    "city": "largest",
    "capital": "capital",
    "population": "inhabitants|people live|people who live|The population",
    "area": "square kilometres",
    "border": "border",
    "domain": "domain",
    "currency": r"\([A-Z]{3}\)",
    "weight": "atomic weight",
    "number": "atomic number",
    "year": "discover",
    "period": r"period \d",
    "group": r"group \d",
    "series": "metal|noble gas|halogen|metalloid|actinide",
    "symbol": "symbol|formulas",
    "continent": "",
}
COMPARES = re.compile(
    "more inhabitants than|is greater than|heavier|larger by area|larger than|the two covers|weight than"
)
RECORDED: list[Row] = [json.loads(line) for line in RECORDING.read_text(encoding="utf-8").splitlines()]
ENGLISH = [row for row in RECORDED if "language" not in row]


def test_the_generator_writes_the_same_bytes_again() -> None:
    assert lines(rows()) == RECORDING.read_text(encoding="utf-8")


def test_no_text_stands_twice() -> None:
    """An engine that plays it knows a call by its text alone."""
    assert len(RECORDED) >= 60
    texts = Counter(text for row in RECORDED for text in {row["prompt"], *(each["claim"] for each in row["claims"])})
    answers = Counter(text for row in RECORDED for text in {*_by_language(row["response"]), row["response"]})
    plain = Counter(text for row in RECORDED for text in sentences_of(row["response"]))
    for counted in (texts, answers, plain):
        assert [text for text, count in counted.items() if count > 1] == []


def test_its_lengths_are_those_of_the_workload() -> None:
    known = load_workload(RECORDING)
    sentences = [sentence for row in known for sentence in row.sentences]
    found = {
        "words of an answer": [len(row.response.split()) for row in known],
        "sentences of an answer": [len(row.sentences) for row in known],
        "words of a sentence": [len(each.text.split()) for each in sentences],
        "claims of an answer": [len(row.claims) for row in known],
        "claims of a sentence": [len(each.claims) for each in sentences],
        "words of a claim": [len(each.text.split()) for row in known for each in row.claims],
    }
    for name, (wanted_mean, wanted_median, wanted_p90) in LENGTHS.items():
        lengths = sorted(found[name])
        assert mean(lengths) == pytest.approx(wanted_mean, rel=0.1), name
        assert median(lengths) == pytest.approx(wanted_median, rel=0.1), name
        assert lengths[int(len(lengths) * 0.9)] == pytest.approx(wanted_p90, rel=0.1), name


def test_a_sentence_has_its_own_claims() -> None:
    """The claims are spread over the sentences by their number alone: these were written so that it fits."""
    fit = []
    for row in load_workload(RECORDING):
        if any(row.id == each["id"] for each in ENGLISH):
            for sentence in row.sentences:
                for claim in sentence.claims:
                    # A claim ends with the subject or the value, or begins with one of them, or is about a number.
                    words = {claim.text.split()[0], claim.text.split()[-1], *re.findall(r"\d\S*", claim.text)}
                    fit.append(any(word in sentence.text for word in words))
    assert sum(fit) / len(fit) > 0.9


def test_labels_are_those_of_the_corpora() -> None:
    checked = 0
    for row in ENGLISH:
        for each in row["claims"]:
            if each["label"] is not None and not COMPARES.search(each["claim"]):
                assert _is_so(each["claim"]) is each["label"], each
                checked += 1
    assert checked > 200


def test_a_comparison_is_of_amounts_that_are_far_apart() -> None:
    spain, portugal = COUNTRIES["spain"], COUNTRIES["portugal"]
    for one, other in ((spain, portugal), (portugal, spain)):
        true, false = (comparison(one, other, "people", label) for label in (True, False))
        assert true is not None
        assert false is not None
        assert (true.subject, true.value, true.label) == ("Spain", "Portugal", True)
        assert (false.subject, false.value, false.label) == ("Portugal", "Spain", False)
    assert comparison(ELEMENTS["cobalt"], ELEMENTS["nickel"], "heavier", True) is None


def test_it_has_something_of_each_kind() -> None:
    labels = Counter(each["label"] for row in RECORDED for each in row["claims"])
    assert 0.15 < labels[False] / labels.total() < 0.35
    assert labels[None] == 2
    assert Counter(row.get("language") for row in RECORDED if "language" in row) == {"de": 3, "zh": 3, "hi": 2}
    broken = [row for row in RECORDED if "broken_lines" in row]
    assert sorted(bool(row["claims"]) for row in broken) == [False, False, True, True]
    assert sum("\n- " in row["response"] for row in RECORDED) >= 2
    for row in RECORDED[:PLAIN_ROWS]:
        assert set(row) == {"id", "prompt", "response", "claims", "label"}
        assert None not in {each["label"] for each in row["claims"]}


def test_broken_lines_are_no_claims() -> None:
    parser = JsonLines(Claim)
    written = [each["line"] for row in RECORDED for each in row.get("broken_lines", ())]
    found = [item for line in written for item in parser.feed(line + "\n")]
    assert len(found) == len(written) > 4
    assert all(isinstance(each, ParseFailure) for each in found)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_pipeline_judges_every_claim_by_its_label(mode: Mode) -> None:
    asked = [
        SimulatedRequest(number, number * 1.0, json.dumps({"prompt": row["prompt"]}).encode(), mode)
        for number, row in enumerate(RECORDED)
    ]
    outcomes = list(simulate(factcheck.pipeline, asked, SimulatedSystem(factcheck.script(RECORDING))))
    assert len(outcomes) == len(RECORDED)
    for outcome in outcomes:
        found = [(each["claim"], each["verdict"]) for each in json.loads(outcome.result)["claims"]]
        assert found == [(each["claim"], each["label"]) for each in RECORDED[outcome.number]["claims"]]


def _by_language(response: str) -> list[str]:
    parser = Sentences(str)
    return [each for each in (*parser.feed(response), *parser.close()) if isinstance(each, str)]


def _is_so(claim: str) -> bool:
    """Whether the corpora say so of a subject that the claim names."""
    kind = next(kind for kind, word in KIND_WORDS.items() if re.search(word, claim))
    subjects = [*COUNTRIES.values(), *ELEMENTS.values()]
    named = [each for each in subjects if kind in each.values and _has(claim, each.name)]
    assert named, claim
    return any(_has(claim, value) for each in named for value in each.values[kind])


def _has(claim: str, words: str) -> bool:
    """Whether the words stand in the claim and are no part of longer ones; it may begin with them."""
    return re.search(rf"(?<![\w.]){re.escape(words)}(?![\w]|[.,]\d)", claim, re.IGNORECASE) is not None
