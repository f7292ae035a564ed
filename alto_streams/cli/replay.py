"""`alto-streams replay`: the requests of a recording once more, through the gateway or through the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alto_streams.cli import options
from alto_streams.errors import ConfigError
from alto_streams.recordings.spacing import Arrivals, Planned
from alto_streams.settings import settings

if TYPE_CHECKING:
    from alto_streams.cli.simulating import Simulated
    from alto_streams.define.pipeline import Pipeline
    from alto_streams.recordings.format import Recording
    from alto_streams.recordings.results import ClassCalls, Ran, RunHeader

USAGE = (
    "Send the requests of a recording again: with their own spacing (divided by --speed) or at --rate, at their times "
    "however the answers come, through a gateway; or, with --simulate, through simulated engines in virtual time, "
    "where the same file and options give the same results, byte for byte. Ctrl-C leaves what has ended in --out."
)
SIMULATOR = "With --simulate: "

File = Annotated[Path, typer.Argument(metavar="FILE", help="A recording, as `record` and `import-trace` write it.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Where the results go, as .jsonl or .jsonl.gz; replaced if it is there."),
]
Speed = Annotated[float | None, typer.Option(min=0.001, max=1e6, help="Times the recorded speed.  [default: 1]")]
Rate = Annotated[float | None, typer.Option(min=0.001, max=1e5, help="Requests a second instead.")]
Spacing = Annotated[Arrivals, typer.Option("--arrivals", help="How requests at --rate are spaced.")]
Seed = Annotated[int, typer.Option(help="Of Poisson arrivals, and of the simulator.")]
Other = Annotated[str | None, typer.Option("--pipeline", metavar="NAME", help="Instead of the recorded one.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many requests, the first ones.")]
NoDeadlines = Annotated[bool, typer.Option("--no-deadlines", help="Without the deadlines that the requests had.")]
Simulate = Annotated[bool, typer.Option("--simulate", help="Through simulated engines, in virtual time.")]
Script = Annotated[
    Path | None, typer.Option(metavar="FILE", help=f"{SIMULATOR}what engines write, as for `up --engine scripted`.")
]
OutputTokens = Annotated[
    int | None,
    typer.Option(min=1, max=100_000, help=f"{SIMULATOR}the length of calls that the script does not know."),
]
Engines = Annotated[int | None, typer.Option(min=1, max=1_000, help=f"{SIMULATOR}how many.  [default: 4]")]
HopMs = Annotated[
    float | None, typer.Option(min=0, max=60_000, help=f"{SIMULATOR}the way of a record through the log.  [default: 0]")
]
Policy = Annotated[
    str | None, typer.Option(metavar="NAME", help=f"{SIMULATOR}who takes a call.  [default: ALTO_POLICY]")
]
Speeds = Annotated[
    str | None, typer.Option(metavar="1,1,0.5", help=f"{SIMULATOR}of the first engines; the others have 1.")
]
CachedClasses = Annotated[
    int | None,
    typer.Option(min=1, max=1_000, help=f"{SIMULATOR}whose prefixes each engine keeps.  [default: all]"),
]
Lost = Annotated[
    list[str] | None,
    typer.Option(metavar="ENGINE@SECONDS", help=f"{SIMULATOR}it stops for good then; may be given again."),
]


@dataclass(frozen=True, slots=True)
class Run:
    """What is sent, and where its results go."""

    header: RunHeader
    planned: list[Planned]
    out: Path | None

    def end(self, ran: Collection[Ran], classes: Mapping[str, ClassCalls] = MappingProxyType({})) -> None:
        """Writes what has ended, and sums up. `classes`: the calls of each prompt class, where they were seen."""
        import msgspec

        from alto_streams.cli.run_figures import figures
        from alto_streams.recordings.results import write_results

        if not ran:
            return
        header = msgspec.structs.replace(self.header, classes=dict(sorted(classes.items())))
        if self.out is not None:
            write_results(self.out, header, ran)
        for line in figures(ran, len(self.planned), header.started is not None, header.hit_rate):
            typer.echo(line)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(help=USAGE)(replay)


def replay(
    file: File,
    out: Out = None,
    speed: Speed = None,
    rate: Rate = None,
    arrivals: Spacing = Arrivals.POISSON,
    seed: Seed = 1,
    pipeline: Other = None,
    gateway: options.Gateways = None,
    limit: Limit = None,
    no_deadlines: NoDeadlines = False,
    simulate: Simulate = False,
    script: Script = None,
    output_tokens: OutputTokens = None,
    engines: Engines = None,
    hop_ms: HopMs = None,
    policy: Policy = None,
    engine_speeds: Speeds = None,
    cached_classes: CachedClasses = None,
    lose_engine: Lost = None,
) -> None:
    """Exits with 1 if a request did not end well."""
    from alto_streams.cli import simulating
    from alto_streams.errors import CommandFailed
    from alto_streams.recordings.files import check_target
    from alto_streams.recordings.format import read_recording

    if speed is not None and rate is not None:
        raise ConfigError("--speed and --rate: give one of them")
    own: dict[str, Any] = {
        "--script": script,
        "--output-tokens": output_tokens,
        "--engines": engines,
        "--hop-ms": hop_ms,
    }
    own |= {"--policy": policy, "--engine-speeds": engine_speeds, "--cached-classes": cached_classes}
    _refuse(simulate, own | {"--lose-engine": lose_engine}, {"--gateway": gateway})
    if out is not None:
        check_target("--out", out)
    addresses = options.gateways(gateway)
    recording = read_recording(file)
    planned = _planned(recording, speed or 1.0, rate, arrivals, seed)[:limit]
    name = pipeline or recording.header.pipeline
    words = f"speed {speed or 1.0:g}" if rate is None else f"rate {rate:g}, {arrivals}, seed {seed}"
    if simulate:
        _check_script(script, output_tokens)
        deployed = script, output_tokens, engines or 4, (hop_ms or 0) / 1000, seed
        system = simulating.simulated(*deployed, policy, engine_speeds, cached_classes, lose_engine)
        run = Run(_header(recording, name, words, str(system)), planned, out)
        ran = _simulated(run, _known(name), system, not no_deadlines)
    else:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        run = Run(_header(recording, name, words, ", ".join(addresses), now), planned, out)
        ran = asyncio.run(_sent(addresses, run, pipeline, not no_deadlines))
    failed = sum(each.status != "ok" for each in ran)
    if failed:
        where = f"; {out} says why" if out is not None else "; --out FILE says why"
        raise CommandFailed(f"{failed} of {len(ran)} requests did not end well{where}")


def _planned(recording: Recording, speed: float, rate: float | None, arrivals: Arrivals, seed: int) -> list[Planned]:
    from alto_streams.recordings.spacing import as_recorded, at_rate

    if rate is None:
        return as_recorded(recording.requests, speed)
    return at_rate(recording.requests, rate, arrivals, seed)


def _header(recording: Recording, pipeline: str, spacing: str, system: str, started: str | None = None) -> RunHeader:
    from alto_streams.recordings.format import VERSION
    from alto_streams.recordings.results import RunHeader

    return RunHeader(VERSION, pipeline, recording.digest, spacing, system, started)


def _refuse(simulate: bool, own: dict[str, Any], others: dict[str, Any]) -> None:
    """Options that only the simulator has, or only a real system."""
    for name, value in (others if simulate else own).items():
        if value is not None:
            raise ConfigError(f"{name}: {'not with' if simulate else 'only with'} --simulate")


def _check_script(given: Path | None, output_tokens: int | None) -> None:
    if given is None and output_tokens is None:
        raise ConfigError("--simulate: it needs what the engines write; add --script FILE, or --output-tokens N")
    if given is not None and not given.is_file():
        raise ConfigError(f"--script {given}: no such file")


def _known(name: str) -> Pipeline:
    from alto_streams.cli.log_reading import pipelines_of
    from alto_streams.define.loading import load_pipelines

    pipelines_of(name)
    return load_pipelines(settings().pipelines)[name]


def _simulated(run: Run, pipeline: Pipeline, system: Simulated, with_deadlines: bool) -> list[Ran]:
    from alto_streams.cli import simulating
    from alto_streams.cli.progress import progress

    ran: list[Ran] = []
    seen = simulating.Seen()
    try:
        with progress(len(run.planned)) as advance:
            for each in simulating.run(pipeline, run.planned, system, settings(), seen, with_deadlines):
                ran.append(each)
                advance()
    finally:
        run.end(ran, seen.classes)
    return ran


async def _sent(addresses: list[str], run: Run, pipeline: str | None, with_deadlines: bool) -> list[Ran]:
    from alto_streams.cli.progress import progress
    from alto_streams.cli.replaying import Replaying
    from alto_streams.client import Client
    from alto_streams.local.signals import ends_on_signals

    async with ends_on_signals(), Client(addresses) as client:
        replaying = Replaying(client, pipeline, _result_stage(run.header.pipeline), with_deadlines)
        try:
            with progress(len(run.planned)) as advance:
                await replaying.run(run.planned, advance)
        except* Exception as group:
            raise group.exceptions[0] from None
        finally:
            run.end(replaying.ran.values())
    return list(replaying.ran.values())


def _result_stage(name: str) -> str | None:
    """None for a pipeline that is not known here; the gateway may know it."""
    from alto_streams.define.loading import load_pipelines
    from alto_streams.simulator.clients import result_stage

    found = load_pipelines(settings().pipelines).get(name)
    return None if found is None else result_stage(found)
