"""The rulings of a home as a table: what each record means for each state of a call."""

from __future__ import annotations

import pytest

from alto_streams.tables.attempts import (
    MAX_STARTS,
    Act,
    accept,
    begins_run,
    follow,
    next_attempt,
    rule_chunk,
    rule_result,
    rule_start,
    rule_timer,
)
from alto_streams.tables.rows import CallState
from alto_streams.wire.records import Chunk, Result, Start, Timer

UNHEARD = CallState(attempt=2)
FOLLOWED = CallState(attempt=2, run="a", starts=1, mark=1)
RESTARTED = CallState(attempt=2, run="a", starts=MAX_STARTS, mark=3)
STREAMING = CallState(attempt=2, run="a", starts=1, seq=3, mark=4, text="abc")
CLOSED = CallState(attempt=2, closed=True)
NO_CALL = None


def start(attempt: int = 2, run: str = "a") -> Start:
    return Start("r", "0", attempt, run)


def chunk(seq: int, attempt: int = 2, run: str = "a") -> Chunk:
    return Chunk("r", "0", attempt, run, seq, "x")


@pytest.mark.parametrize(
    ("call", "record", "act"),
    [
        (NO_CALL, start(), Act.ABORT),
        (CLOSED, start(), Act.ABORT),
        (CLOSED, start(attempt=3), Act.ABORT),
        (UNHEARD, start(attempt=1), Act.ABORT),
        (STREAMING, start(attempt=1, run="b"), Act.ABORT),
        (UNHEARD, start(), Act.FOLLOW),
        (UNHEARD, start(attempt=3), Act.IGNORE),
        (FOLLOWED, start(), Act.IGNORE),
        (FOLLOWED, start(run="b"), Act.FOLLOW),
        (RESTARTED, start(run="b"), Act.RETRY),
        (STREAMING, start(), Act.IGNORE),
        (STREAMING, start(run="b"), Act.RETRY),
    ],
)
def test_start(call: CallState | None, record: Start, act: Act) -> None:
    assert rule_start(call, record).act is act


@pytest.mark.parametrize(
    ("call", "record", "act"),
    [
        (NO_CALL, chunk(0), Act.IGNORE),
        (CLOSED, chunk(0), Act.IGNORE),
        (UNHEARD, chunk(1), Act.RETRY),  # the beginning of its run is lost
        (UNHEARD, chunk(1, attempt=1), Act.IGNORE),
        (FOLLOWED, chunk(0), Act.ACCEPT),
        (FOLLOWED, chunk(0, run="b"), Act.IGNORE),
        (FOLLOWED, chunk(0, attempt=1), Act.IGNORE),
        (FOLLOWED, chunk(0, attempt=3), Act.IGNORE),
        (FOLLOWED, chunk(1), Act.RETRY),
        (STREAMING, chunk(2), Act.IGNORE),
        (STREAMING, chunk(3), Act.ACCEPT),
        (STREAMING, chunk(5), Act.RETRY),
        (STREAMING, chunk(5, run="b"), Act.IGNORE),
    ],
)
def test_chunk(call: CallState | None, record: Chunk, act: Act) -> None:
    assert rule_chunk(call, record).act is act


@pytest.mark.parametrize(
    ("call", "record", "begins"),
    [
        (NO_CALL, chunk(0), True),
        (CLOSED, chunk(0), True),
        (UNHEARD, chunk(0), True),
        (UNHEARD, chunk(1), False),
        (FOLLOWED, chunk(0), False),
        (FOLLOWED, chunk(0, run="b"), True),
        (FOLLOWED, chunk(0, attempt=1), True),
        (STREAMING, chunk(0), False),
    ],
)
def test_the_first_chunk_of_a_run_begins_it(call: CallState | None, record: Chunk, begins: bool) -> None:
    assert begins_run(call, record) is begins


@pytest.mark.parametrize(
    ("call", "attempt", "act"),
    [
        (NO_CALL, 2, Act.IGNORE),
        (CLOSED, 2, Act.IGNORE),
        (UNHEARD, 1, Act.IGNORE),
        (UNHEARD, 2, Act.ACCEPT),
        (UNHEARD, 3, Act.IGNORE),
    ],
)
def test_result(call: CallState | None, attempt: int, act: Act) -> None:
    assert rule_result(call, Result("r", "0", attempt, "any run")).act is act


@pytest.mark.parametrize(
    ("call", "attempt", "mark", "act"),
    [
        (NO_CALL, 2, 4, Act.IGNORE),
        (CLOSED, 2, 0, Act.IGNORE),
        (STREAMING, 2, 4, Act.RETRY),
        (STREAMING, 2, 3, Act.IGNORE),
        (STREAMING, 1, 4, Act.IGNORE),
    ],
)
def test_timer(call: CallState | None, attempt: int, mark: int, act: Act) -> None:
    assert rule_timer(call, Timer("r", "0", attempt, mark)).act is act


def test_the_mark_advances_with_everything_that_is_heard() -> None:
    call = CallState(attempt=1)
    marks = [call.mark]
    follow(call, "a")
    marks.append(call.mark)
    accept(call, chunk(0))
    marks.append(call.mark)
    next_attempt(call)
    marks.append(call.mark)
    assert marks == [0, 1, 2, 3]


def test_the_next_attempt_keeps_what_was_accepted_and_has_heard_nothing() -> None:
    call = CallState(attempt=1)
    follow(call, "a")
    accept(call, Chunk("r", "0", 1, "a", 0, "ab", 2, tokens=[7, 8]))
    next_attempt(call)
    assert (call.attempt, call.run, call.seq, call.starts) == (2, None, 0, 0)
    assert (call.text, call.tokens, call.spent) == ("ab", [7, 8], 2)


def test_tokens_are_kept_only_while_they_cover_the_text() -> None:
    call = CallState(attempt=1)
    accept(call, Chunk("r", "0", 1, "a", 0, "ab", tokens=[7]))
    accept(call, Chunk("r", "0", 1, "a", 1, ""))
    assert call.tokens == [7]
    accept(call, Chunk("r", "0", 1, "a", 2, "c"))
    accept(call, Chunk("r", "0", 1, "a", 3, "d", tokens=[9]))
    assert call.tokens is None
    assert call.text == "abcd"
