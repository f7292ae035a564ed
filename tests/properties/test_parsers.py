"""Parsers: how a text was cut into chunks never decides its items, and no text makes them raise."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.define.parsers import JsonLines, Lines, Sentences, Whole
from alto_streams.define.pipeline import ParseFailure, Parser
from alto_streams.pipelines.factcheck.verdict import VerdictLine
from alto_streams.wire.records import TokenLogprob


class Claim(msgspec.Struct, frozen=True):
    claim: str


MAKERS: dict[str, Callable[[], Parser[Any]]] = {
    "whole": lambda: Whole(str, max_chars=60),
    "sentences": lambda: Sentences(str, max_chars=60),
    "plain": lambda: Sentences(str, rule="plain", max_chars=60),
    "lines": lambda: Lines(str, limit=3, max_chars=30),
    "json": lambda: JsonLines(Claim, limit=3, max_chars=40),
    "verdict": lambda: VerdictLine("a claim", []),
}
PIECES = st.sampled_from(
    ["Dr. ", "U.S. ", "One. ", "Two!", " ", "\n", "\n\n", "1. ", '"Yes." ', "(No.) ", "```", "True", "correct"]
) | st.sampled_from(['{"claim": "x"}', '{"claim": 1}', "{", "…", "\r\n", "\u2028", "\x00", "\ud800", "é"])
TEXTS = st.lists(PIECES | st.text(max_size=12), max_size=14).map("".join)


def read(parser: Parser[Any], chunks: list[str]) -> list[Any]:
    found = []
    for chunk in chunks:
        found += parser.feed(chunk)
    return found + parser.close()


def cut(text: str, places: list[int]) -> list[str]:
    marks = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[low:high] for low, high in itertools.pairwise(marks)]


@pytest.mark.parametrize("name", MAKERS)
@given(text=TEXTS, places=st.lists(st.integers(0, 400), max_size=8))
def test_chunks_do_not_matter(name: str, text: str, places: list[int]) -> None:
    assert read(MAKERS[name](), cut(text, places)) == read(MAKERS[name](), [text])


@pytest.mark.parametrize("name", MAKERS)
@given(text=TEXTS)
def test_items_never_come_later_for_coming_in_one_piece(name: str, text: str) -> None:
    """What a prefix has yielded, the whole text yields too, first and unchanged."""
    before = MAKERS[name]().feed(text[: len(text) // 2])
    assert MAKERS[name]().feed(text)[: len(before)] == before


@given(text=TEXTS)
def test_sentences_keep_every_word_in_order(text: str) -> None:
    found = read(Sentences(str), [text])
    assert "".join("".join(found).split()) == "".join(text.split())


@given(text=TEXTS)
def test_plain_sentences_are_those_of_the_split_at_white_space(text: str) -> None:
    expected = [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
    assert read(Sentences(str, rule="plain"), [text]) == expected


@given(text=st.text(max_size=200))
def test_causes_never_quote_the_output(text: str) -> None:
    marked = f"SECRET{text}"
    for failure in read(JsonLines(Claim), [marked]) + read(VerdictLine("c", []), [marked]):
        assert isinstance(failure, ParseFailure)
        assert "SECRET" not in failure.cause


@given(split=st.integers(0, 9), odds=st.floats(-9, 9))
def test_a_verdict_by_odds_does_not_depend_on_chunks(split: int, odds: float) -> None:
    tokens = [TokenLogprob(" correct", {" correct": -1.0, " wrong": -1.0 - odds}), TokenLogprob("\n", {"\n": 0.0})]
    whole = VerdictLine("c", [], threshold=0.5)
    parts = VerdictLine("c", [], threshold=0.5)
    text = " correct\n"
    expected = whole.feed(text, tokens) + whole.close()
    found = parts.feed(text[:split], tokens[:1]) + parts.feed(text[split:], tokens[1:]) + parts.close()
    assert found == expected
