"""`alto-streams diff`: in what two runs of the same requests differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alto_streams.errors import ConfigError

if TYPE_CHECKING:
    from alto_streams.cli.run_changes import Side
    from alto_streams.recordings.differences import Difference

USAGE = (
    "Name the requests that differ between two runs: in status, in result (each place, and numbers by how much), or, "
    "with --latency-tolerance, in latency. Each FILE is a results file of `replay --out`, or a recording that was made "
    "with --results. Then what changed over all requests: how many ended how, latencies, and what engines had cached. "
    "No text of a user is shown. Exits with 1 if a request differs, as diff does."
)
A_FILE = typer.Argument(metavar="FILE", help="Results, or a recording with results.")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(help=USAGE)(diff)


def diff(
    first: Annotated[Path, A_FILE],
    second: Annotated[Path, A_FILE],
    tolerance: Annotated[
        float,
        typer.Option(
            min=0, metavar="NUMBER", help="Numbers of results count as equal within it: 0.01 is 1 %, or 0.01."
        ),
    ] = 0.0,
    latency: Annotated[
        float | None,
        typer.Option(
            "--latency-tolerance", min=0, metavar="SHARE", help="Also latencies to the end that differ by more: 0.1."
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 50,
) -> None:
    """One line a difference, then what changed over all, and how many requests differ."""
    from alto_streams.cli.run_changes import changes
    from alto_streams.recordings.differences import Tolerance, differences

    one, other = side_of(first), side_of(second)
    if one.recording != other.recording:
        typer.echo("these are not of the same requests: the recordings differ", err=True)
    found = list(differences(one.told, other.told, Tolerance(tolerance, latency)))
    for each in found[:most]:
        typer.echo(str(each))
    if len(found) > most:
        typer.echo(f"... and {len(found) - most} more (--most)")
    for line in changes(one, other):
        typer.echo(line)
    if tolerance:
        typer.echo(within(found, list(differences(one.told, other.told)), tolerance))
    differing = len({each.request for each in found})
    typer.echo(f"{differing} of {len({*one.told, *other.told})} requests differ")
    if found:
        raise typer.Exit(1)


def side_of(path: Path) -> Side:
    """What a file says of each request, and of all.

    Raises:
        ConfigError: it is neither of results nor a recording with results.
    """
    from alto_streams.cli.run_changes import Side
    from alto_streams.recordings.differences import of_recording, of_run
    from alto_streams.recordings.files import read_lines
    from alto_streams.recordings.format import PARQUET, read_recording
    from alto_streams.recordings.results import read_results

    first = b"" if path.name.endswith(PARQUET) else next(read_lines(path), (0, b""))[1]
    if first.startswith(b'{"type":"run"'):
        header, ran = read_results(path)
        return Side(header.recording, of_run(ran), header.system, header.hit_rate)
    recording = read_recording(path)
    told = of_recording(recording)
    if not told:
        raise ConfigError(f"{path}: a recording that does not say what became of its requests; `record --results` does")
    return Side(recording.digest, told, f"recorded from {recording.header.source}")


def within(found: list[Difference], exact: list[Difference], tolerance: float) -> str:
    """One line for what the tolerance let pass: how many numbers, and by how much they differ at most."""
    beyond = set(found)
    passed = [abs(each.by) for each in exact if each.by is not None and each not in beyond]
    if not passed:
        return f"no number differs by less than the tolerance of {tolerance:g}"
    return f"{len(passed)} numbers differ within the tolerance of {tolerance:g}, by {max(passed):.4g} at most"
