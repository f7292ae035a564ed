"""The work item of a call that broke off asks for what is left of it, and no item is made when nothing is."""

from __future__ import annotations

import pytest

from alto_streams.pipelines.factcheck import Claim, Sentence, pipeline, prompts
from alto_streams.wire.records import Close, End, Ended, Status, Work
from tests.unit.homes import REQUEST_ID, Home, children, chunk, items, items_to, sent, start, works

BROKE = End(Status.FAILED, "error", "the connection broke")
LINES = ['{"claim": "a"}\n', '{"claim": "b"}\n', '{"claim": "c"}\n']


@pytest.fixture(params=[False, True], ids=["remembers", "from its row"])
def claims(request: pytest.FixtureRequest) -> Home:
    home = Home(pipeline, "claims", forgetful=request.param)
    (work,) = works(home.tell(items("answer", "", Sentence("One sentence."))))
    assert work.call.grammar == prompts.CLAIMS_GRAMMAR.whole()
    home.tell(start("0"))
    return home


@pytest.mark.parametrize("count", [1, 2])
def test_the_next_attempt_has_the_grammar_of_the_lines_that_are_left(claims: Home, count: int) -> None:
    for seq in range(count):
        claims.tell(chunk("0", seq, LINES[seq]))
    (work,) = works(claims.tell(chunk("0", count, "", end=BROKE)))
    written = "".join(LINES[:count])
    assert (work.attempt, work.prefix) == (2, written)
    assert work.call.grammar == prompts.CLAIMS_GRAMMAR.after(written)
    assert f"line{{0,{3 - count}}}" in (work.call.grammar or "")
    assert work.call.max_tokens == prompts.CLAIMS_TOKENS - len(written)
    assert (work.call.stop, work.call.seed) == (["\n\n"], None)


def test_a_call_with_all_its_lines_ends_without_another_attempt(claims: Home) -> None:
    for seq, line in enumerate(LINES):
        claims.tell(chunk("0", seq, line))
    out = claims.tell(chunk("0", 3, "", end=BROKE))
    assert works(out) == []
    (told,) = items_to(out, "report")
    assert told.close == Close(3)
    assert sent(out, "control.") == [Ended(REQUEST_ID, "claims", "0", 1), Ended(REQUEST_ID, "claims", "0", 2)]
    assert works(claims.tell(start("0", run="late"))) == []


def test_a_call_with_its_blank_line_ends_too(claims: Home) -> None:
    claims.tell(chunk("0", 0, LINES[0] + "\n"))
    out = claims.tell(chunk("0", 1, "", end=BROKE))
    assert works(out) == []
    assert items_to(out, "report")[0].close == Close(1)


def test_a_call_that_broke_before_its_first_line_has_the_whole_grammar(claims: Home) -> None:
    (work,) = works(claims.tell(chunk("0", 0, "", end=BROKE)))
    assert (work.prefix, work.call.grammar) == ("", prompts.CLAIMS_GRAMMAR.whole())


def test_a_verdict_that_is_written_is_judged_without_another_attempt() -> None:
    home = Home(pipeline, "verdict")
    home.tell(items("claims", "0", Claim("c"), close=Close(1)))
    home.tell(items("queries", "0/0", close=Close(0)))
    home.tell(start("0/0"))
    home.tell(chunk("0/0", 0, " correct"))
    out = home.tell(chunk("0/0", 1, "", end=BROKE))
    assert works(out) == []
    assert [each["verdict"] for each in children(items_to(out, "report"))] == [True]


def test_a_choice_that_is_begun_travels_with_all_choices() -> None:
    """The engine is told the prefix beside them, and takes those that begin with it."""
    home = Home(pipeline, "verdict")
    home.tell(items("claims", "0", Claim("c"), close=Close(1)))
    home.tell(items("queries", "0/0", close=Close(0)))
    home.tell(start("0/0"))
    home.tell(chunk("0/0", 0, " u"))
    (work,) = works(home.tell(chunk("0/0", 1, "", end=BROKE)))
    assert isinstance(work, Work)
    assert (work.prefix, work.call.choices, work.call.max_tokens) == (" u", [" unsure"], 2)
