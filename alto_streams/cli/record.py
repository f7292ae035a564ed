"""`alto-streams record`: the requests of a stretch of the log, or of a trace, as a recording to send again."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from alto_streams.cli import options
from alto_streams.errors import ConfigError
from alto_streams.recordings.trace_units import Unit, unit_of
from alto_streams.wire.records import Raw

if TYPE_CHECKING:
    from alto_streams.history.requests import Bound, Found
    from alto_streams.recordings.format import Recorded, Recording

USAGE = (
    "Write the requests that the log (ALTO_BROKER) has to a recording, in the order of their arrival, for "
    "`alto-streams replay`. It is read apart from any consumer group. The file holds what users wrote. "
    "OFFSETS are one offset for every partition, or PARTITION:OFFSET,...; TIME is 90s, 15m, 2h or 3d ago, or "
    "2030-01-31T12:00."
)
IMPORT_USAGE = (
    "Make a recording of a trace that has times and lengths only (JSON lines with timestamp, input_length, "
    "output_length and hash_ids, as Mooncake's). Equal hash ids become equal text, so that shared prefixes stay shared."
)
MOST = 1_000_000
_OFFSETS = re.compile(r"\d{1,18}|\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*")


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command(help=USAGE)(record)
    app.command("import-trace", help=IMPORT_USAGE)(import_trace)


def record(
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="NAME.jsonl, .jsonl.gz or .parquet; replaced if it is there.")
    ],
    pipeline: options.PipelineName = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="OFFSETS|TIME", help="Where to begin. Default: the oldest kept.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="OFFSETS|TIME", help="Where to end, exclusive. Default: the present end.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many, the first ones.")] = MOST,
    results: Annotated[
        bool, typer.Option("--results", help="Also how each has ended: its status and its result.")
    ] = False,
) -> None:
    """Exits with 1 if there is no request in the range."""
    from alto_streams.cli.log_reading import read_log
    from alto_streams.cli.serving import own_name
    from alto_streams.errors import CommandFailed
    from alto_streams.recordings.files import check_target
    from alto_streams.recordings.format import ENDINGS, VERSION, Header, Recording, write_recording
    from alto_streams.wire.topic_names import requests_topic

    check_target("--out", out, ENDINGS)
    name = own_name(pipeline)
    now_s = time.time()
    bounds = bound_of(start, now_s, "--from"), bound_of(until, now_s, "--until")
    found = read_log(_read(name, *bounds, count, results))
    for note in notes(found):
        typer.echo(note, err=True)
    if not found.requests:
        raise CommandFailed(f"no request was found in {requests_topic(name)} ({_range(start, until)}); widen the range")
    created = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
    header = Header(VERSION, name, requests_topic(name), len(found.requests), created, found.offsets)
    recording = Recording(header, found.requests)
    write_recording(out, recording)
    typer.echo(told(out, recording, results))


def import_trace(
    trace: Annotated[Path, typer.Argument(metavar="FILE", help="The trace; may be gzipped (.gz).")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="NAME.jsonl, .jsonl.gz or .parquet; replaced if it is there.")
    ],
    pipeline: options.PipelineName = None,
    field: Annotated[str, typer.Option(help="The field of a request's input that gets the text.")] = "prompt",
    output_field: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The field that gets the output's length. Default: none.")
    ] = None,
    more: Annotated[str, typer.Option(metavar="JSON", help="Further fields of every input, as a JSON object.")] = "{}",
    mode: options.ModeChoice = options.Mode.STREAM,
    block_tokens: Annotated[int, typer.Option(min=1, max=1 << 20, help="Tokens of a block with one hash id.")] = 512,
    tokens_per_word: Annotated[float, typer.Option(min=0.1, max=10, help="Of the engine's tokenizer.")] = 1.35,
    most_tokens: Annotated[int | None, typer.Option(min=1, help="Cut longer inputs to so many tokens.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many requests, the first ones.")] = MOST,
    seed: Annotated[int, typer.Option(help="Of the texts.")] = 0,
    unit: Annotated[Unit, typer.Option(help="Of the timestamps; auto: as their gaps say.")] = Unit.AUTO,
) -> None:
    """The recording's times begin at the epoch: a trace has none of its own."""
    from itertools import islice

    from alto_streams.cli.serving import own_name
    from alto_streams.recordings.files import check_target, read_lines
    from alto_streams.recordings.format import ENDINGS, VERSION, Header, Recording, ordered, write_recording
    from alto_streams.recordings.traces import Shape, requests_of, timestamps_of

    check_target("--out", out, ENDINGS)
    try:
        msgspec.json.decode(more, type=dict[str, Raw])
    except msgspec.MsgspecError as error:
        raise ConfigError(f"--more: expected a JSON object: {error}") from None
    name = pipeline or own_name(None)
    lines = list(islice(read_lines(trace), limit))
    if not lines:
        raise ConfigError(f"{trace}: it holds no request")
    own = unit_of(timestamps_of(str(trace), lines), str(trace)) if unit is Unit.AUTO else unit
    shape = Shape(name, field, output_field, more, mode, block_tokens, tokens_per_word, most_tokens, seed, own.ms)
    requests = ordered(requests_of(str(trace), lines, shape, 0))
    created = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
    recording = Recording(Header(VERSION, name, trace.name, len(requests), created), requests)
    write_recording(out, recording)
    typer.echo(told(out, recording))
    if unit is Unit.AUTO:
        typer.echo(f"its timestamps were taken for {own}; --unit says otherwise")
    if len(requests) > 1 and recording.span_s == 0:
        typer.echo("all requests come at once: the trace has no length; is --unit right?", err=True)
    longest = max(len(each.input) for each in requests)
    typer.echo(f"the longest input has {longest} bytes; a gateway's bounds are ALTO_MAX_PROMPT_CHARS and _BODY_BYTES")


def bound_of(text: str | None, now_s: float, option: str) -> Bound:
    """Offsets or a time, as an option has them. Raises `ConfigError` if it is neither."""
    from alto_streams.cli.log_reading import since_of
    from alto_streams.history.requests import Bound

    if text is None:
        return Bound()
    if _OFFSETS.fullmatch(text) is None:
        try:
            return Bound(at_ms=since_of(text, now_s, option))
        except ConfigError as error:
            raise ConfigError(f"{error}, or offsets: 120, or 0:120,1:98") from None
    if ":" not in text:
        return Bound(offset=int(text))
    pairs = [pair.split(":") for pair in text.split(",")]
    return Bound(offsets={int(partition): int(offset) for partition, offset in pairs})


def notes(found: Found) -> list[str]:
    """What a user should know of what is not in the recording."""
    said = [f"{place}: gone; the topic keeps those from offset {first} on" for place, first in found.gone.items()]
    if found.unreadable:
        some = ", ".join(found.unreadable[:3]) + (", ..." if len(found.unreadable) > 3 else "")
        said.append(f"{len(found.unreadable)} records that nothing can read were left out ({some})")
    if found.repeated:
        said.append(f"{found.repeated} requests came a second time and were left out there")
    return said


def told(out: Path, recording: Recording, results: bool = False) -> str:
    """One line for a recording that was made, with or without results."""
    header, span_s = recording.header, recording.span_s
    rate = f", {(header.requests - 1) / span_s:.3g} a second" if span_s > 0 else ""
    ended = sum(each.became is not None for each in recording.requests)
    how = f"; {ended} of them have ended" if results else ""
    what = f"{header.requests} requests of {header.pipeline} over {span_s:.1f} s{rate}"
    return f"{out}: {what}, from {header.source}{how}"


async def _read(pipeline: str, start: Bound, stop: Bound, count: int, results: bool) -> Found:
    from alto_streams.history import requests as request_log
    from alto_streams.settings import settings

    found = await request_log.requests_of(settings(), pipeline, start, stop, count)
    if results and found.requests:
        became = await request_log.outcomes(settings(), pipeline, found.requests)
        found.requests = [_with(each, became.get(each.id)) for each in found.requests]
    return found


def _with(each: Recorded, became: object) -> Recorded:
    return msgspec.structs.replace(each, became=became)


def _range(start: str | None, until: str | None) -> str:
    return f"from {start or 'the oldest kept'} until {until or 'the present end'}"
