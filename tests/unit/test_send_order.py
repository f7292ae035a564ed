"""In what order the records that a batch asks for are acknowledged."""

from __future__ import annotations

from alto_streams.agents.home.send_order import in_order
from alto_streams.tables.rows import Send
from tests.simulation.script import Claim, Question, pipeline
from tests.unit.homes import STOP, Home, chunk, items, request, start

RESULTS = "results.factcheck"


def sends(home: Home) -> list[Send]:
    return [each for each in home.said if isinstance(each, Send)]


def test_a_close_waits_until_the_client_can_see_all_before_it() -> None:
    """The root may end the request as soon as it has the last close: events after that would be dropped."""
    home = Home(pipeline, "answer")
    home.tell(request(Question("why?")), start(""), chunk("", 0, "one\ntwo", end=STOP))
    first, last = in_order(sends(home), RESULTS)
    assert {out.topic for out in first} >= {RESULTS, "chunks.factcheck.claims"}
    assert {out.topic for out in last} == {"chunks.factcheck.report"}
    assert len(first) + len(last) == len(sends(home))


def test_where_the_client_sees_nothing_everything_goes_at_once() -> None:
    home = Home(pipeline, "queries")
    home.tell(items("claims", "0", Claim("c")), start("0/0"), chunk("0/0", 0, "one\ntwo", end=STOP))
    (all_at_once,) = in_order(sends(home), RESULTS)
    assert len(all_at_once) == len(sends(home))


def test_nothing_is_no_wave() -> None:
    assert in_order([], RESULTS) == []
