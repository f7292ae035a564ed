"""`alto-streams dead-letters`: what could not be used, and how it is sent once more."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alto_streams.cli.groups import group
from alto_streams.cli.log_reading import pipelines_of, read_log, since_of
from alto_streams.settings import settings

if TYPE_CHECKING:
    from alto_streams.history.letters import StoredLetter
    from alto_streams.history.redrive import Redriven

MOST = 10_000
HEADINGS = ("ID", "WHEN (UTC)", "STAGE", "REQUEST", "PATH", "ORIGIN", "RECORD", "CAUSE")

app = group(
    "List, show and send again what could not be used: records that nothing can read, and what failed in a "
    "request. A letter's id is PIPELINE:PARTITION:OFFSET in its dead-letters topic."
)
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="Ids as `list` prints them.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a letter, one a line.")]


@app.command("list")
def list_(
    pipeline: Annotated[str | None, typer.Option(help="Only of this pipeline.")] = None,
    stage: Annotated[
        str | None, typer.Option(help="Only of this stage; `request` and `egress` are where requests enter and leave.")
    ] = None,
    request: Annotated[str | None, typer.Option(metavar="ID", help="Only of this request.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Not older than this: 90s, 15m, 2h, 3d, or 2030-01-31T12:00.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List letters, newest first; no user text is shown."""
    from alto_streams.history import letters as letter_log

    since_ms = 0 if since is None else since_of(since, time.time(), "--since")

    def wanted(each: StoredLetter) -> bool:
        return stage in (None, each.letter.stage) and request in (None, each.letter.request)

    found = read_log(letter_log.newest(settings(), pipelines_of(pipeline), wanted, limit, since_ms))
    if as_json:
        for each in found:
            typer.echo(json.dumps(fields(each)))
    elif found:
        for line in table(found):
            typer.echo(line)
    else:
        typer.echo("no dead letters")


@app.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="An id as `list` prints it.")],
    record: Annotated[
        bool, typer.Option("--record", help="Also the record, which may hold what a user wrote.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one letter.

    All of it but its record, which may hold what a user wrote.
    """
    from alto_streams.history import letters as letter_log

    (found,) = read_log(letter_log.fetched(settings(), [letter_log.LetterId.of(letter)]))
    if as_json:
        typer.echo(json.dumps(_shown(found, record)))
        return
    for line in show_lines(found, record=record):
        typer.echo(line)


@app.command()
def redrive(letters: Ids) -> None:
    """Send again what these letters are about.

    Nothing is sent if that cannot be done for one of them.

    A letter with a record: the record, with its key, to the partition it came from. It is judged anew, so what has
    happened already changes nothing, and what still cannot be used makes a new letter.

    A letter without one is of what failed within a request, which has ended: the request is sent again under a new id,
    which is printed. Doing that twice makes two new requests.
    """
    from alto_streams.history import letters as letter_log
    from alto_streams.history import redrive as redriving

    ids = [letter_log.LetterId.of(each) for each in letters]

    async def all_of_them() -> None:
        async for done in redriving.redrive(settings(), ids):
            typer.echo(told(done))

    read_log(all_of_them())


def show_lines(stored: StoredLetter, *, record: bool) -> list[str]:
    """All of a letter, a field a line; where a function raised, frame by frame, comes last."""
    shown = _shown(stored, record)
    trace = shown.pop("trace")
    lines = [f"{name:<13} {value}".rstrip() for name, value in shown.items()]
    return [*lines, "raised at", *trace.splitlines()] if trace else lines


def fields(stored: StoredLetter) -> dict[str, Any]:
    """What is said of a letter: no text of a user."""
    letter = stored.letter
    return {
        "id": str(stored.id),
        "at": datetime.fromtimestamp(stored.at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "stage": letter.stage,
        "request": letter.request,
        "path": letter.path,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "record_bytes": stored.record_bytes,
        "cause": letter.cause,
        "trace": letter.trace,
    }


def table(found: list[StoredLetter]) -> list[str]:
    """The letters as aligned lines, with their headings."""
    rows = [HEADINGS, *(_row(each) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def told(done: Redriven) -> str:
    """One line for a letter that was sent again."""
    where = f"{done.topic}-{done.partition}@{done.offset}"
    if done.again:
        return f"{done.id}: request {done.request} was sent again as {done.again} ({where})"
    note = "; its request is older than ALTO_HORIZON_S, so its home will drop it" if done.past else ""
    return f"{done.id}: its record was sent again ({where}){note}"


def _shown(stored: StoredLetter, record: bool) -> dict[str, Any]:
    shown = fields(stored) | {"key": _key(stored)}
    return shown | ({"record": stored.letter.record.decode(errors="replace")} if record else {})


def _row(stored: StoredLetter) -> tuple[str, ...]:
    letter = stored.letter
    when = datetime.fromtimestamp(stored.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    origin = f"{letter.topic}-{letter.partition}@{letter.offset}"
    size = f"{stored.record_bytes} B" if stored.record_bytes else "-"
    cause = " ".join(letter.cause.split())
    return (str(stored.id), when, letter.stage or "-", letter.request or "-", letter.path or "-", origin, size, cause)


def _key(stored: StoredLetter) -> str:
    """The record's key, which is a request's id; of any other only the length, for it may be anything."""
    key = stored.letter.key
    return key if not key or key == stored.letter.request else f"{len(key)} characters"
