"""What each parser takes for an item, and what for a failure."""

from __future__ import annotations

from enum import StrEnum

import msgspec
import pytest

from alto_streams.define.parsers import JsonLines, Lines, Sentences, Whole
from alto_streams.define.pipeline import ParseFailure
from alto_streams.pipelines.factcheck.search import Passage
from alto_streams.pipelines.factcheck.verdict import VerdictLine, log_odds
from alto_streams.wire.records import TokenLogprob


class Claim(msgspec.Struct, frozen=True):
    claim: str


class Colour(StrEnum):
    RED = "red"


class Painted(msgspec.Struct, frozen=True):
    colour: Colour


def test_a_sentence_closes_when_the_white_space_after_it_arrives() -> None:
    parser = Sentences(str)
    assert parser.feed("Paris is in France.") == []
    assert parser.feed(" ") == ["Paris is in France."]
    assert parser.feed("It is") == []
    assert parser.close() == ["It is"]
    assert parser.close() == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Ada met Mr. Bo. They ate.", ["Dr. Ada met Mr. Bo.", "They ate."]),
        ("The U.S. dollar fell 3.5 points. Sad!", ["The U.S. dollar fell 3.5 points.", "Sad!"]),
        ("1. One is.\n2. Two is", ["1. One is.", "2. Two is"]),
        ('He said "No." (It is.) Why?', ['He said "No."', "(It is.)", "Why?"]),
        ("A list:\n- one\n\n- two", ["A list:", "- one", "- two"]),
        (" \n ", []),
        ("Take vitamin B\u00a0. It helps. Yes", ["Take vitamin B\u00a0. It helps.", "Yes"]),  # a library may stumble
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    parser = Sentences(str)
    assert parser.feed(text) + parser.close() == sentences


def test_in_barrier_mode_the_sentences_are_one_item() -> None:
    coarse = Sentences(str).coarse()
    assert coarse.feed("One. Two. ") == []
    assert coarse.close() == ["One. Two."]


def test_what_is_too_long_is_a_failure_and_the_rest_goes_on() -> None:
    whole = Whole(str, max_chars=3)
    whole.feed("abcd")
    assert whole.close() == [ParseFailure("the text has more than 3 characters")]
    lines = Lines(str, max_chars=3)
    assert lines.feed("abcdef\nok\n") == [ParseFailure("item 1: the line has more than 3 characters"), "ok"]


def test_lines_stop_at_their_limit() -> None:
    assert Lines(str, limit=2).feed("a\n\n b \nc\n") == ["a", "b"]


def test_json_lines_and_a_malformed_one() -> None:
    parser = JsonLines(Claim)
    found = parser.feed('```json\n{"claim": "a"}\n{"claim": 1}\n{"cla\n{"claim": "b"}')
    found += parser.close()
    assert [item for item in found if isinstance(item, Claim)] == [Claim("a"), Claim("b")]
    causes = [item.cause for item in found if isinstance(item, ParseFailure)]
    assert [cause.split(":")[0] for cause in causes] == ["item 2", "item 3"]
    assert "$.claim" in causes[0]


def test_a_cause_does_not_quote_what_the_model_wrote() -> None:
    (failure,) = JsonLines(Painted).feed('{"colour": "my secret"}\n')
    assert isinstance(failure, ParseFailure)
    assert "secret" not in failure.cause


def test_a_grammar_for_records_of_text_only() -> None:
    grammar = JsonLines(Claim, limit=3).grammar
    assert grammar is not None
    assert "line{1,3}" in grammar.whole()
    assert 'line ::= "{" "\\"claim\\": \\"" text "\\"" "}" "\\n"' in grammar.whole()
    assert JsonLines(Painted).grammar is None


EVIDENCE = [Passage("a.txt", "A fact.", 1.0)]


@pytest.mark.parametrize(("word", "verdict"), [("True", True), (" correct", True), ("False.", False), ("wrong", False)])
def test_without_log_probabilities_the_word_decides_as_soon_as_its_line_ends(word: str, verdict: bool) -> None:
    parser = VerdictLine("c", EVIDENCE)
    (found,) = parser.feed(f"{word}\nBecause")
    assert not isinstance(found, ParseFailure)
    assert (found.verdict, found.confidence, found.evidence) == (verdict, None, EVIDENCE)
    assert parser.feed(" of it.\nFalse\n") + parser.close() == []


@pytest.mark.parametrize(("threshold", "verdict"), [(0.0, True), (2.0, False)])
def test_the_odds_against_the_threshold_decide_not_the_word(threshold: float, verdict: bool) -> None:
    token = TokenLogprob(" correct", {" correct": -0.3, " wrong": -1.3, "x": -5.0})
    parser = VerdictLine("c", [], threshold=threshold)
    assert parser.feed(" correct", [token]) == []
    (found,) = parser.close()
    assert not isinstance(found, ParseFailure)
    assert found.verdict is verdict
    assert found.confidence == pytest.approx(0.731, abs=0.001)


@pytest.mark.parametrize("text", ["Perhaps\n", "", "\n\n", "True or false\n"])
def test_any_other_first_line_is_a_failed_leaf(text: str) -> None:
    parser = VerdictLine("c", [])
    (found,) = parser.feed(text) + parser.close()
    assert isinstance(found, ParseFailure)


def test_a_word_that_is_missing_counts_as_the_least_alternative() -> None:
    assert log_odds(TokenLogprob("True", {"True": -0.5, "The": -4.0})) == pytest.approx(3.5)
    assert log_odds(TokenLogprob("The", {"The": -0.1})) is None
