"""What holds for whoever carries out instructions: what of them still counts, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from alto_streams.tables.rows import Arm, Row, Send
from alto_streams.wire.records import HomeRecord, Request, Timer

HELD_AGAIN_MS = 1_000  # a timer of a map function that waits for its turn, or runs, is looked at again after this time


def request_of(record: HomeRecord) -> str:
    """Whose row a record is applied to."""
    return record.id if isinstance(record, Request) else record.request


def is_open(row: Row, path: str, attempt: int) -> bool:
    """Whether an attempt is still to be made: of records that come again, the later ones tell what became of it."""
    call = row.calls.get(path)
    return call is not None and not call.closed and call.attempt == attempt


def timer_name(timer: Timer | Arm) -> str:
    """A later timer of the same name replaces the one before: a request's deadline, a call's silence, a call's time."""
    return "deadline" if not timer.attempt else f"due {timer.path}" if timer.due else timer.path


def takes_effect(row: Row, timer: Timer) -> bool:
    """Whether a timer that has fired is to be told to the home: not where something was heard since it was armed."""
    call = row.calls.get(timer.path)
    return timer.attempt == 0 or (call is not None and (timer.due or call.mark == timer.mark))


def in_waves(sends: Sequence[Send], results: str) -> list[list[Send]]:
    """The records in the order of their acknowledgement: where there are events for the client (`results` is their
    topic), those that may end the request wait for them. Partitions keep no order among one another."""
    if not any(each.topic == results for each in sends):
        waves = [list(sends)]
    else:
        waves = [[each for each in sends if not each.last], [each for each in sends if each.last]]
    return [wave for wave in waves if wave]
