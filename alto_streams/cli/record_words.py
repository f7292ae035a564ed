"""Records of a home, and what a home asks for, in words. Pure; what records carry only where it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from alto_streams.tables.rows import Arm, Instruction, Run, Send
from alto_streams.wire.records import (
    Cancel,
    Chunk,
    Forget,
    HomeRecord,
    Items,
    Request,
    Result,
    Retract,
    Start,
    Status,
    Timer,
)

RUN_SHOWN = 8  # characters of a run's id


def said(record: HomeRecord | None) -> str:
    """What a record is, without anything that a user or a model wrote."""
    match record:
        case None:
            return "a record that nothing can read"
        case Request():
            return "the request"
        case Items():
            return _items(record)
        case Start():
            return f"start of {_run(record.run, record.attempt)}{_at(record.path)}"
        case Chunk():
            return _chunk(record)
        case Result():
            failed = "" if record.status is Status.OK else f", {record.status} ({record.reason or 'no reason'})"
            children = _count(len(record.children), "item")
            return f"result of {_run(record.run, record.attempt)}{_at(record.path)}: {children}{failed}"
        case Timer(attempt=0):
            return "timer: the request's deadline"
        case Timer():
            what = "the time of the whole call" if record.due else f"silence in attempt {record.attempt}"
            return f"timer{_at(record.path)}: {what}"
        case Cancel():
            what = f"the item of {record.stage}{_at(record.path)}" if record.stage else "the request"
            return f"cancel of {what}: {record.status}"
        case Retract():
            which = f"items of {record.stage}{_at(record.path)} from {record.first} on, before epoch {record.epoch}"
            return f"withdrawal of {which}"
        case Forget():
            return "the request has ended at its root"


def text_of(record: HomeRecord) -> str:
    """What a record carries, as JSON: it may hold what a user wrote."""
    return msgspec.json.encode(record).decode(errors="replace")


def followed(asked: Iterable[Instruction], at_ms: int) -> list[str]:
    """What a home did, once for what it did several times; the record came at `at_ms`."""
    return [f"{what} ({count} times)" if count > 1 else what for what, count in Counter(_did(asked, at_ms)).items()]


def _did(asked: Iterable[Instruction], at_ms: int) -> Iterable[str]:
    for each in asked:
        match each:
            case Send(call=(path, attempt)):
                yield f"attempt {attempt}{_at(path)} dispatched to {each.topic}"
            case Send():
                yield f"sent to {each.topic}"
            case Run(path, attempt):
                yield f"function run{_at(path)}, attempt {attempt}"
            case Arm():
                yield f"timer{_at(each.path)} set, {(each.at_ms - at_ms) / 1000:g} s from then"


def _items(items: Items) -> str:
    failed = sum(child.status is not Status.OK for child in items.children)
    words = [_count(len(items.children), "item") + (f" from {items.first} on" if items.first else "")]
    words += [f"{failed} failed"] if failed else []
    if items.close is not None:
        words.append(f"close {items.close.status} after {items.close.count}")
    return f"of {items.stage}{_at(items.path)}: {', '.join(words)}"


def _chunk(chunk: Chunk) -> str:
    words = f"chunk {chunk.seq} of {_run(chunk.run, chunk.attempt)}{_at(chunk.path)}, {_count(chunk.count, 'token')}"
    if chunk.end is None:
        return words
    cause = f" ({chunk.end.cause})" if chunk.end.cause else ""
    return f"{words}; the run's end: {chunk.end.status}, {chunk.end.reason}{cause}"


def _run(run: str, attempt: int) -> str:
    return f"run {run[:RUN_SHOWN]} of attempt {attempt}"


def _at(path: str) -> str:
    return f" at {path}" if path else ""


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
