"""Which run of which attempt a home follows. Pure: (call, record) -> a ruling; the machine carries it out.

A log delivers at least once and workers die in the middle, so several runs of one call may write to its home, mixed
and late. The home follows one run of the open attempt and rules every other record out; when it can no longer know
that the followed run is whole (a second start, a hole, a silence), it ends the attempt, and the next one continues
from exactly the text that was accepted.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from alto_streams.tables.decisions import Cause
from alto_streams.tables.rows import CallState
from alto_streams.wire.records import Chunk, Result, Start, Timer

MAX_STARTS = 3


class Act(Enum):
    """What a record about a call means."""

    IGNORE = "it changes nothing"
    ABORT = "its attempt is over: tell its worker"
    FOLLOW = "follow this run"
    ACCEPT = "accept it"
    RETRY = "end the attempt; the next one continues"


class Ruling(NamedTuple):
    """What a record means, and why. `cause`: of an attempt that ends."""

    act: Act
    why: str = ""
    cause: Cause | None = None


FOLLOW, ACCEPT = Ruling(Act.FOLLOW), Ruling(Act.ACCEPT)
OVER = Ruling(Act.ABORT, "its attempt is over")
NO_CALL = Ruling(Act.IGNORE, "there is no such call")
CLOSED = Ruling(Act.IGNORE, "the call has closed")
ANOTHER_ATTEMPT = Ruling(Act.IGNORE, "another attempt is open")
ANOTHER_RUN = Ruling(Act.IGNORE, "another run is followed")
KNOWN = Ruling(Act.IGNORE, "it is known")
VOID = Ruling(Act.IGNORE, "something was heard since it was armed")
WORKER_LOST = Ruling(Act.RETRY, "its worker was replaced", Cause.WORKER_LOST)
HOLE = Ruling(Act.RETRY, "a hole in its output", Cause.HOLE)
SILENCE = Ruling(Act.RETRY, "silence", Cause.SILENCE)


def begins_run(call: CallState | None, chunk: Chunk) -> bool:
    """Whether it is the start of its run as well: the first chunk of one that is not followed."""
    return chunk.seq == 0 and (call is None or call.closed or call.attempt != chunk.attempt or call.run != chunk.run)


def rule_start(call: CallState | None, start: Start) -> Ruling:
    """A worker has begun a run."""
    if call is None or call.closed or start.attempt < call.attempt:
        return OVER
    if start.attempt > call.attempt:
        return ANOTHER_ATTEMPT
    if start.run == call.run:
        return KNOWN
    if call.run is None or (call.seq == 0 and call.starts < MAX_STARTS):
        return FOLLOW
    return WORKER_LOST


def rule_chunk(call: CallState | None, chunk: Chunk) -> Ruling:
    """A run has produced text."""
    if call is None or call.closed or chunk.attempt != call.attempt:
        return _past(call)
    if call.run is None:
        return HOLE  # its beginning is lost
    if chunk.run != call.run:
        return ANOTHER_RUN
    if chunk.seq < call.seq:
        return KNOWN
    return ACCEPT if chunk.seq == call.seq else HOLE


def rule_result(call: CallState | None, result: Result) -> Ruling:
    """A run of a map function has ended: the first one of the open attempt counts, whichever run it was."""
    if call is None or call.closed or result.attempt != call.attempt:
        return _past(call)
    return ACCEPT


def rule_timer(call: CallState | None, timer: Timer) -> Ruling:
    """A silence has lasted longer than its bound, unless something was heard since it was armed."""
    if call is None or call.closed or timer.attempt != call.attempt:
        return _past(call)
    return SILENCE if timer.mark == call.mark else VOID


def _past(call: CallState | None) -> Ruling:
    if call is None:
        return NO_CALL
    return CLOSED if call.closed else ANOTHER_ATTEMPT


def follow(call: CallState, run: str) -> None:
    """Follow this run from its first chunk."""
    call.run, call.seq = run, 0
    call.starts += 1
    call.mark += 1


def accept(call: CallState, chunk: Chunk) -> None:
    """Take a chunk of the followed run into the stream."""
    call.seq += 1
    call.mark += 1
    call.text += chunk.text
    call.spent += chunk.count
    if chunk.tokens is None and chunk.text:
        call.tokens = None  # they no longer cover the text: only the text itself can be continued
    elif call.tokens is not None:
        call.tokens.extend(chunk.tokens or ())
    call.logprobs.extend(chunk.logprobs or ())


def next_attempt(call: CallState) -> None:
    """Open the next attempt, of which nothing has been heard."""
    call.attempt += 1
    call.run, call.seq, call.starts = None, 0, 0
    call.mark += 1


def begin_anew(call: CallState) -> None:
    """Forget what was accepted: the open attempt writes all of it again."""
    call.text, call.spent = "", 0
    call.tokens, call.logprobs = [], []
