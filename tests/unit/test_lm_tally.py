"""What an LM worker counts of its calls, and what it says of them."""

from __future__ import annotations

import msgspec
import pytest

from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.tally import TOKENS_MOST, Tally
from alto_streams.agents.lm.tally import WORK as PRIOR
from alto_streams.models.protocol import Piece, Usage
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.models.simulated import Timing
from alto_streams.wire.codec import decoder, encode
from alto_streams.wire.plans import PREFILL, ClassReport, EngineReport, Pace, Receipt
from alto_streams.wire.records import Message
from tests.unit.test_lm_agent import WORK, Log, agent_of

CLAIMS, QUERIES, VERDICT = "factcheck.claims", "factcheck.queries", "factcheck.verdict"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> Tally:
    return Tally(clock)


def report_of(tally: Tally) -> EngineReport:
    return tally.report("judge", "http://w:1", "engine x", 5, 8)


def only(report: EngineReport) -> ClassReport:
    (found,) = report.classes
    return found


def run(tally: Tally, prompt_class: str, cached: int, prompt: int = 100) -> None:
    """A call that takes no time."""
    counted = tally.begin(prompt_class)
    tally.ended(counted, Usage(prompt, 10, cached))
    tally.leave()


def test_a_call_is_timed_from_when_its_engine_was_asked(tally: Tally, clock: Clock) -> None:
    counted = tally.begin(CLAIMS)
    clock.now_s += 2.0
    tally.heard(counted, Piece("a", count=1))
    clock.now_s += 5.0
    tally.ended(counted, Usage(100, 11, 40))
    tally.leave()
    report = report_of(tally)
    assert only(report) == ClassReport(CLAIMS, 0, 1, 100, 40, 40, [11], 2.0, 5.0)
    assert (report.span_s, report.paces) == (7.0, [Pace(0.0, 0.5, tokens=10)])


def test_what_came_with_a_whole_line_began_before_it(tally: Tally, clock: Clock) -> None:
    counted = tally.begin(CLAIMS)
    clock.now_s += 3.0
    tally.heard(counted, Piece("five words in a line\n", count=5))
    clock.now_s += 2.5
    tally.heard(counted, Piece("and five more words follow", count=5))
    tally.ended(counted, Usage())
    tally.leave()
    found = only(report_of(tally))
    assert (found.first_token_s, found.call_s, found.output_tokens) == (1.0, 4.5, [10])


def test_a_pace_says_how_many_ran_beside_it(tally: Tally, clock: Clock) -> None:
    first = tally.begin(CLAIMS)
    tally.heard(first, Piece("a"))
    clock.now_s += 1.0
    second = tally.begin(QUERIES)
    tally.heard(second, Piece("a"))
    clock.now_s += 1.0
    tally.leave()  # the second was broken off: it is no sample, and none that ended
    clock.now_s += 2.0
    tally.ended(first, Usage(10, 5, 0))
    tally.leave()
    report = report_of(tally)
    assert report.paces == [Pace(0.25, 1.0, tokens=4)]
    assert only(report).prompt_class == CLAIMS


def read_beside(tally: Tally, clock: Clock, heard: Piece, told: Usage) -> float:
    """The tokens that were read for each one of a call, while another began that was heard and told of so."""
    first = tally.begin(CLAIMS)
    clock.now_s += 1.0
    tally.heard(first, Piece("a"))
    second = tally.begin(VERDICT)
    clock.now_s += 1.0
    tally.heard(second, heard)
    clock.now_s += 1.0
    tally.ended(second, told)
    tally.leave()
    clock.now_s += 2.0
    tally.ended(first, Usage(1000, 5, 0))
    tally.leave()
    *_, pace = report_of(tally).paces
    return pace.read


def test_a_pace_says_what_was_read_for_others_meanwhile(tally: Tally, clock: Clock) -> None:
    assert read_beside(tally, clock, Piece("b"), Usage(90, 1, 50)) == 10.0  # its class is new: told at its end
    assert read_beside(tally, clock, Piece("b"), Usage(440, 1, 0)) == 10.0  # what is read for its class
    assert read_beside(tally, clock, Piece("b"), Usage()) == 20.0  # of late: 40, 440
    assert read_beside(tally, clock, Piece("b", usage=Usage(8, 1, 4)), Usage(8, 1, 4)) == 1.0


def test_of_an_engine_that_counts_no_prompts_nothing_was_read(tally: Tally, clock: Clock) -> None:
    assert [read_beside(tally, clock, Piece("b"), Usage()) for _ in range(3)] == [0.0] * 3


def test_work_is_that_of_the_receipts_by_sender(tally: Tally) -> None:
    receipt = Receipt("prompt_aware", "", "one", work=70)
    held = [tally.take(CLAIMS, msgspec.structs.replace(WORK, receipt=receipt)) for _ in range(2)]
    other = tally.take(CLAIMS, WORK)
    load = tally.load("w", 7, {CLAIMS: [1]})
    assert (load.work, load.waiting, load.running, load.owned) == ({"one": 140, "": PRIOR}, 3, 0, {CLAIMS: [1]})
    assert report_of(tally).work == 140 + PRIOR
    tally.release(other)
    tally.release(held[0])
    assert tally.load("w", 7, {}).work == {"one": 70}
    tally.release(held[1])
    assert (tally.load("w", 7, {}).work, tally.held) == ({}, 0)


def test_without_a_receipt_a_call_is_expected_to_take_what_others_took(tally: Tally) -> None:
    run(tally, CLAIMS, cached=60)
    tally.take(CLAIMS, WORK)
    assert tally.load("w", 7, {}).work == {"": round(10 + 40 * PREFILL)}


def test_a_report_is_worth_sending_once_something_has_changed(tally: Tally) -> None:
    report_of(tally)
    assert not tally.has_news
    held = tally.take(CLAIMS, WORK)
    assert tally.has_news
    assert only(report_of(tally)).arrived == 1
    assert not tally.has_news
    tally.release(held)
    assert tally.has_news
    report_of(tally)
    held = tally.take(CLAIMS, WORK, is_new=False)  # delivered again
    assert report_of(tally).classes == []


@pytest.mark.parametrize("fits", [1, 2, 3])
def test_warm_are_as_many_classes_as_the_engine_keeps(tally: Tally, fits: int) -> None:
    """Of an engine with a cache that drops what was used longest ago."""
    cached: list[str] = []
    order = [CLAIMS, CLAIMS, QUERIES, CLAIMS, VERDICT, QUERIES, CLAIMS, QUERIES, VERDICT, CLAIMS, VERDICT, QUERIES]
    for prompt_class in order * 2:
        run(tally, prompt_class, cached=50 if prompt_class in cached else 0)
        cached = [prompt_class, *(each for each in cached if each != prompt_class)][:fits]
    assert tally.warm == cached


@pytest.mark.parametrize("told", [0, -5, 10**30])
def test_counts_that_cannot_be_are_put_right(tally: Tally, clock: Clock, told: int) -> None:
    counted = tally.begin(CLAIMS)
    clock.now_s += 1.0
    tally.heard(counted, Piece("a", count=0))
    clock.now_s += 5.0
    tally.ended(counted, Usage(told, told, told))
    tally.leave()
    report = report_of(tally)
    assert decoder(EngineReport)(encode(report)) == report
    assert only(report).output_tokens == [TOKENS_MOST if told > 0 else 1]


async def test_the_agent_tells_what_its_engine_did() -> None:
    messages = [Message("system", "what all calls of the class begin with " * 9), Message("user", "Why is that so?")]
    work = msgspec.structs.replace(WORK, call=msgspec.structs.replace(WORK.call, messages=messages))
    quick = Timing(0.0001, 0.0, 0.0)
    engine, log, tally = ScriptedEngine(lambda *_: "one two three four\n", timing=quick), Log(), Tally()
    agent = LMAgent(engine, agent_of(engine, log)._control, log, tally)  # type: ignore[arg-type]
    for path in ("0", "1"):
        await agent.handle(msgspec.structs.replace(work, path=path), "factcheck")
    found = only(report_of(tally))
    assert (found.prompt_class, found.ended, found.output_tokens, tally.running) == (CLAIMS, 2, [5, 5], 0)
    assert found.cached_tokens == found.cached_most > 80  # the second's only
    assert found.prompt_tokens == 2 * (found.cached_most + 5)
    await engine.close()
