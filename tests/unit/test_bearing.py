"""Which passage speaks of a claim, and what the words alone say of it."""

from __future__ import annotations

import pytest

from alto_streams.define.pipeline import Gather
from alto_streams.pipelines.factcheck import Question, one_is_false
from alto_streams.pipelines.factcheck.bearing import LEANING, bears, best, leaning
from alto_streams.pipelines.factcheck.search import Passage, open_search
from alto_streams.pipelines.factcheck.verdict import MARGIN, THRESHOLD, Verdict, verdict_line
from alto_streams.wire.records import TokenLogprob


def of(subject: str, text: str, score: float = 1.0) -> Passage:
    return Passage(f"countries/{subject}.txt", text, score)


CANADA = [
    of("canada", "The capital of Canada is Ottawa."),
    of("canada", "The largest city of Canada is Toronto.", 9.0),
    of("canada", "Canada is located in North America."),
]


@pytest.mark.parametrize(
    ("claim", "place"),
    [
        ("The capital of Canada is Toronto.", 0),  # the other passage has the name, this one what is asked about
        ("Canada's capital is Toronto.", 0),
        ("Ottawa is the largest city in Canada.", 1),
        ("Canada is located in Europe.", 2),
    ],
)
def test_a_claim_is_judged_by_what_it_asks_about_not_by_the_name_that_it_gives(claim: str, place: int) -> None:
    assert best(claim, CANADA) == CANADA[place]


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("Armenia uses the lev as its currency.", of("bulgaria", "The currency of Bulgaria is the lev (BGN).")),
        ("Canada is known for its maple syrup.", CANADA[0]),
        ("The president of France is a man.", of("france", "The capital of France is Paris.")),
        ("It rains.", Passage("weather-notes.txt", "The sun shone on the hills of Wales.")),
    ],
)
def test_a_fact_about_something_else_does_not_speak_of_a_claim(claim: str, passage: Passage) -> None:
    assert not bears(claim, passage)
    assert best(claim, [passage]) is None


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("São Tomé and Príncipe borders nobody.", of("sao-tome-and-principe", "Sao Tome and Principe borders Gabon.")),
        ("Cats sleep all day.", Passage("notes.txt", "My cat likes to sleep by day.")),  # a file of no one subject
        ("The symbol of arsenic is As.", Passage("elements/arsenic.txt", "The chemical symbol of arsenic is As.")),
    ],
)
def test_accents_plurals_and_files_of_no_one_subject_are_no_hindrance(claim: str, passage: Passage) -> None:
    assert bears(claim, passage)


def test_the_longer_name_is_the_subject() -> None:
    samoas = [
        of("samoa", "The currency of Samoa is the tala (WST).", 9.0),
        of("american-samoa", "The currency of American Samoa is the dollar (USD)."),
    ]
    assert best("American Samoa uses the tala as its currency.", samoas) == samoas[1]
    assert best("Samoa uses the tala as its currency.", samoas) == samoas[0]


@pytest.mark.parametrize(
    ("claim", "fact", "expected"),
    [
        ("Ottawa is the capital of Canada.", "The capital of Canada is Ottawa.", LEANING),
        ("The capital of Canada is Toronto.", "The capital of Canada is Ottawa.", -LEANING),
        ("Neon has the atomic number 47.", "The atomic number of neon is 10.", -LEANING),
        ("The symbol for arsenic is As.", "The chemical symbol of arsenic is As.", LEANING),
        ("The symbol for zinc is As.", "The chemical symbol of zinc is Zn.", -LEANING),
        ("Japan is located in East Asia.", "Japan is located in Asia.", None),
        ("Juba is the capital of South Korea.", "The capital of North Korea is Pyongyang.", -LEANING),
        ("The official currency of Poland is the zloty.", "The currency of Poland is the zloty (PLN).", 0.0),
        ("The currency of Poland is the peso.", "The currency of Poland is the zloty (PLN).", 0.0),
        ("Paris is not the capital of France.", "The capital of France is Paris.", 0.0),
    ],
)
def test_words_lean_where_they_tell_and_leave_the_rest_to_the_model(
    claim: str, fact: str, expected: float | None
) -> None:
    assert leaning(claim, fact) == expected


def judged(claim: str, odds: float, evidence: list[Passage]) -> Verdict:
    """The verdict where the model wrote "correct" with these odds."""
    parser = verdict_line(claim, evidence)
    found = parser.feed(" correct", [TokenLogprob(" correct", {" correct": 0.0, " wrong": -odds})]) + parser.close()
    (verdict,) = found
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(("beyond", "verdict"), [(MARGIN * 2, True), (MARGIN / 2, None), (-MARGIN * 2, False)])
def test_the_judge_abstains_where_the_odds_are_near(beyond: float, verdict: bool | None) -> None:
    poland = [of("poland", "The currency of Poland is the zloty (PLN).")]
    found = judged("Poland uses the peso as its currency.", THRESHOLD + beyond, poland)
    assert found.verdict is verdict
    assert (found.confidence is None) == (verdict is None)


@pytest.mark.parametrize(
    ("claim", "verdict"), [("Canada's capital is Ottawa.", True), ("Canada's capital is Rome.", False)]
)
def test_at_even_odds_the_words_decide(claim: str, verdict: bool) -> None:
    assert judged(claim, THRESHOLD, CANADA).verdict is verdict
    assert judged(claim, THRESHOLD, CANADA).evidence[0] == CANADA[0]


@pytest.mark.parametrize(
    "query", ["currency of Armenia lev", "Armenia uses the lev as its currency", "where Armenia is located"]
)
def test_the_search_prefers_passages_of_the_subject(query: str) -> None:
    assert open_search().search_nowait(query, 1)[0].source == "countries/armenia.txt"


@pytest.mark.parametrize(("beyond", "verdict"), [(0.8, None), (-0.8, None), (4.0, True), (-4.0, False)])
def test_a_part_of_a_name_settles_it_only_for_a_judge_that_is_very_sure(beyond: float, verdict: bool | None) -> None:
    japan = [of("japan", "Japan is located in Asia.")]
    assert judged("Japan is a country in East Asia.", THRESHOLD + beyond, [*japan, *CANADA]).verdict is verdict


@pytest.mark.parametrize(("verdict", "ends"), [(None, False), (True, False), (False, True)])
def test_an_abstention_is_not_a_false_claim(verdict: bool | None, ends: bool) -> None:
    question = Question("What is Mali?", stop_at_first_false=True)
    assert one_is_false(question, Gather({}), Gather({"0/0/0": Verdict("c", verdict, None, [])})) is ends
