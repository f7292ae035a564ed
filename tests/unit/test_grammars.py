"""What is left of a grammar behind an accepted text, and what the grammars say in GBNF."""

from __future__ import annotations

import pytest

from alto_streams.wire.grammars import LineGrammar, grammar_after, one_of, whole_grammar

LINES = LineGrammar("[a-z]+", least=1, most=3, end="\n")
LINE = 'line ::= [a-z]+ "\\n"\n'


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("", 'line{1,3} "\\n"'),
        ("\n", 'line{1,3} "\\n"'),  # a blank line is neither a line nor, before the least of them, the end
        ("a\n", 'line{0,2} "\\n"'),
        ("a\nb\n", 'line{0,1} "\\n"'),
        ("a", '[^\\x0A\\x0D]* "\\n" line{0,2} "\\n"'),
        ("a\nb", '[^\\x0A\\x0D]* "\\n" line{0,1} "\\n"'),
    ],
)
def test_what_is_left_behind_a_text(text: str, root: str) -> None:
    assert LINES.after(text) == f"root ::= {root}\n{LINE}"


@pytest.mark.parametrize("text", ["a\nb\nc\n", "a\n\n", "a\nb\n\n", "a\nb\nc\nd\n"])
def test_nothing_is_left_behind_all_lines_or_the_end(text: str) -> None:
    assert LINES.after(text) is None


def test_the_last_line_is_completed_without_another() -> None:
    assert LINES.after("a\nb\nc") == 'root ::= [^\\x0A\\x0D]* "\\n" "\\n"\n'


def test_without_an_end_only_the_most_lines_end_it() -> None:
    grammar = LineGrammar("word", least=2, most=3, rules="word ::= [a-z]+")
    assert grammar.whole() == 'root ::= line{2,3}\nline ::= word "\\n"\nword ::= [a-z]+\n'
    assert grammar.after("a\n\n\n") == 'root ::= line{1,2}\nline ::= word "\\n"\nword ::= [a-z]+\n'
    assert grammar.after("a\nb\nc\n") is None


@pytest.mark.parametrize(("least", "most"), [(2, 1), (0, 0), (-1, 2)])
def test_bounds_that_are_none_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="least <= most"):
        LineGrammar("x", least, most)


def test_a_grammar_that_is_only_text_leaves_the_rest_free() -> None:
    assert grammar_after('root ::= "x"', "") == 'root ::= "x"'
    assert grammar_after('root ::= "x"', "x") is None
    assert grammar_after(None, "x") is None
    assert (whole_grammar(LINES), whole_grammar("g"), whole_grammar(None)) == (LINES.whole(), "g", None)


def test_choices_become_a_grammar() -> None:
    assert one_of(['a"b', "c\\d\n"]) == 'root ::= "a\\"b" | "c\\\\d\\n"'
