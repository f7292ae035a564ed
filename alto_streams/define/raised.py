"""What a function of a pipeline's author raised, as a value for log, letter and client, made where it was called. Pure.

It names the exception's type and where it was raised, by file and line. What an exception says, and what variables
held, may be what a user wrote: both stay out, unless `ALTO_LOG_VALUES` asks for them.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import NamedTuple

from alto_streams.errors import PipelineError

FAULTS = (Exception, SystemExit)  # what is taken for a failure of the function; a worker does not end with it
MOST_FRAMES = 20  # the innermost ones
MOST_CHARS = 8_000
MOST_LINE = 300

_PACKAGE = Path(__file__).parents[1]
_CALLERS = (str(_PACKAGE / "tables"), str(_PACKAGE / "agents"))


class Raised(NamedTuple):
    """`why`: for records and clients, such as `page raised KeyError`. `error`: the exception's type.

    `trace`: a line for each frame from the author's function on, with the line of source below it.
    """

    why: str
    error: str
    trace: str


def raised(what: str, error: BaseException, *, with_values: bool = False) -> Raised:
    """What `what`, a stage or a function of one, has raised."""
    name = type(error).__name__
    why = f"{what} raised {name}"
    if isinstance(error, PipelineError):  # one of ours, which never quotes a text
        why = f"{what}: {error}"
    told = traceback.TracebackException.from_exception(error, capture_locals=with_values)
    lines = []
    for each in _chain(told):
        frames = _own(list(each.stack))
        lines += [line for frame in frames[-MOST_FRAMES:] for line in _told(frame)]
        said = f": {each}" if with_values or isinstance(error, PipelineError) else ""
        lines.append(f"{_type_of(each)}{said}"[:MOST_LINE])
    return Raised(why, name, "\n".join(lines)[-MOST_CHARS:])


def _chain(told: traceback.TracebackException) -> list[traceback.TracebackException]:
    """What led to it comes first, as in a traceback of Python's own."""
    found = [told]
    while (before := found[-1].__cause__ or _context(found[-1])) is not None and len(found) < MOST_FRAMES:
        found.append(before)
    return found[::-1]


def _context(told: traceback.TracebackException) -> traceback.TracebackException | None:
    return None if told.__suppress_context__ else told.__context__


def _own(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """The frames from the author's function on; all of them where ours are the only ones."""
    first = next((at for at, frame in enumerate(frames) if not frame.filename.startswith(_CALLERS)), 0)
    return frames[first:]


def _told(frame: traceback.FrameSummary) -> list[str]:
    lines = [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}']
    if frame.line:
        lines.append(f"    {frame.line}"[:MOST_LINE])
    return lines + [f"    {name} = {value}"[:MOST_LINE] for name, value in (frame.locals or {}).items()]


def _type_of(told: traceback.TracebackException) -> str:
    found = told.exc_type
    return "Exception" if found is None else found.__name__
