"""What a home decides about a record, in words that can be counted, logged and told afterwards. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from alto_streams.wire.records import Cancel, End, Result, Status


class Cause(StrEnum):
    """Why a call was tried again, or failed. A closed set without any text of a user: fit for a label of a metric."""

    WORKER_LOST = "worker_lost"  # another run of the attempt began, where the text of the one before was accepted
    HOLE = "hole"  # the beginning, or the next chunk, of the followed run is missing
    SILENCE = "silence"  # nothing was heard of the followed run for too long
    ENGINE_ERROR = "engine_error"  # the engine broke in the middle of the run
    REFUSED = "refused"  # the engine refused the call: another attempt would change nothing
    RAISED = "raised"  # a function of the stage's author raised
    PARSE = "parse"  # the model's output is no item
    TIMEOUT = "timeout"  # the call took longer than its stage allows
    INPUT = "input"  # what drives the call, or is gathered, had failed
    DEADLINE = "deadline"  # the request's
    CANCELLED = "cancelled"
    SHED = "shed"
    TOO_LARGE = "too_large"  # what a record or a row would have to hold
    UNREADABLE = "unreadable"  # a record that can never be applied
    OTHER = "other"


class Did(StrEnum):
    """What was decided about a call, or about the whole request."""

    OPENED = "opened"
    FOLLOWED = "followed"
    ACCEPTED = "accepted"
    IGNORED = "ignored"
    REPLIED = "replied"  # to the worker: its attempt is over
    RETRIED = "retried"
    CLOSED = "closed"
    RETRACTED = "retracted"
    WITHDRAWN = "withdrawn"  # the call has gone with its input
    HELD = "held"  # closed until what was withdrawn of its inputs has come again
    CANCELLED = "cancelled"
    LETTER = "dead_letter"
    ENDED = "ended"


class Decision(NamedTuple):
    """One decision about the call at `path`. `attempt`: the one that is open from then on.

    `why`: in words; it may hold what a server or the author of a parser said, and never an output. `trace`: where a
    function of the pipeline's author raised.
    """

    did: Did
    path: str
    attempt: int
    cause: Cause | None = None
    why: str = ""
    status: Status | None = None
    trace: str = ""


_ENDS = {"rejected": Cause.REFUSED, "error": Cause.ENGINE_ERROR}
_RESULTS = {each.value: each for each in (Cause.RAISED, Cause.TIMEOUT, Cause.TOO_LARGE)}
_CANCELS = {Status.CANCELLED: Cause.CANCELLED, Status.SHED: Cause.SHED}


def cause_of_end(end: End) -> Cause | None:
    """Why a run failed, if it did."""
    return None if end.status is Status.OK else _ENDS.get(end.reason, Cause.OTHER)


def cause_of_result(result: Result) -> Cause | None:
    """Why a map function gave nothing, if it failed. Results of older workers do not say."""
    return None if result.status is Status.OK else _RESULTS.get(result.reason, Cause.OTHER)


def cause_of_cancel(cancel: Cancel) -> Cause:
    """Why something was ended from outside."""
    return _CANCELS.get(cancel.status, Cause.OTHER)
