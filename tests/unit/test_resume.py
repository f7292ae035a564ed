"""What is left of a call whose attempt broke off: in the pure rules, and in the work item of the next attempt."""

from __future__ import annotations

import pytest

from alto_streams.models.protocol import Piece
from alto_streams.models.stops import Stops
from alto_streams.wire.grammars import LineGrammar
from alto_streams.wire.records import Call, Message
from alto_streams.wire.resume import choices_left, finished, rest_of, stops_begun

LINES = LineGrammar("[a-z]+", least=1, most=2, end="\n")


def ask(max_tokens: int = 10, **more: object) -> Call:
    return Call(messages=[Message("user", "x")], max_tokens=max_tokens, **more)  # type: ignore[arg-type]


def test_tokens_stops_and_seed_carry_over() -> None:
    call = ask(seed=3, stop=["\n\n"], temperature=0.5, grammar=LINES.whole())
    rest = rest_of(call, LINES, "a\n", 4)
    assert rest is not None
    assert (rest.max_tokens, rest.seed, rest.stop, rest.temperature) == (6, 3, ["\n\n"], 0.5)
    assert rest.grammar == LINES.after("a\n")
    assert rest_of(call, LINES, "", 0) == call


@pytest.mark.parametrize("spent", [10, 11])
def test_no_call_is_made_without_tokens(spent: int) -> None:
    assert rest_of(ask(), None, "a", spent) is None
    assert rest_of(ask(0), None, "", 0) is None


def test_nothing_is_left_behind_all_lines_a_stop_or_a_choice() -> None:
    assert rest_of(ask(), LINES, "a\nb\n", 4) is None
    assert rest_of(ask(stop=["END"]), None, "a END", 4) is None
    assert rest_of(ask(choices=["yes", "no"]), None, "yes", 1) is None
    assert rest_of(ask(choices=["yes", "yes!"]), None, "yes", 1) is not None
    assert rest_of(ask(choices=["yes", "no"]), None, "ye", 1) is not None


def test_a_grammar_that_is_only_text_is_not_begun_again() -> None:
    call = ask(grammar='root ::= "ab"')
    assert rest_of(call, call.grammar, "a", 1) == ask(9)


def test_choices_are_left_once_each() -> None:
    assert choices_left(["yes", "yellow", "no", "yes"], "ye") == ["s", "llow"]
    assert choices_left(["yes"], "x") == []
    assert finished(ask(choices=["", "a"]), "") is None


@pytest.mark.parametrize(
    ("stops", "text", "rests"),
    [
        (["\n\n"], "a\n", ["\n"]),
        (["\n\n"], "a", []),
        (["abab"], "xab", ["ab"]),
        (["abab"], "xaba", ["b", "bab"]),
        (["ab", "bc"], "a b", ["c"]),
        ([""], "a", []),
    ],
)
def test_stops_that_begin_in_a_text(stops: list[str], text: str, rests: list[str]) -> None:
    assert sorted(stops_begun(stops, text)) == sorted(rests)


def fed(stops: Stops, texts: list[str]) -> list[list[str]]:
    return [[piece.text for piece in stops.feed(Piece(text))] for text in texts]


def test_pieces_are_held_while_they_may_complete_a_stop() -> None:
    stops = Stops(["<end>"], "text <e")
    assert fed(stops, ["n", "d", "s", "n"]) == [[], [], ["n", "d", "s"], ["n"]]
    assert not stops.complete


def test_a_completed_stop_is_no_text() -> None:
    stops = Stops(["<end>"], "text <e")
    assert fed(stops, ["n", "d> and more", "x"]) == [[], [], []]
    assert stops.complete
    assert stops.rest() == []


def test_what_was_held_at_the_end_is_text() -> None:
    stops = Stops(["<end>"], "text <e")
    assert fed(stops, ["n"]) == [[]]
    assert [piece.text for piece in stops.rest()] == ["n"]


def test_what_can_be_no_stop_passes_at_once() -> None:
    assert fed(Stops(["\n\n"], "text"), ["a", "\n", "b\n", "\n"]) == [["a"], [], ["\n"], ["b"]]
