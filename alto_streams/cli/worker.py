"""`alto-streams worker`: which worker this process is, and then Faust's own worker command."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from alto_streams.cli import options
from alto_streams.define.loading import load_pipelines
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import ConfigError
from alto_streams.settings import settings

USAGE = (
    "Start one worker on any Kafka (ALTO_BROKER): of one stage (STAGE), of one model (--model), the one that "
    "publishes client events (--egress), or the one that plans where calls go (--scheduler). Other options are those "
    "of `faust worker`, e.g. -l warn or --web-port 6067."
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    context = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(help=USAGE, context_settings=context)(worker)


def worker(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STAGE] [FAUST OPTIONS]...", help="The stage, e.g. claims; it comes first."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model whose calls it makes, e.g. judge.")] = None,
    egress: Annotated[bool, typer.Option("--egress", help="Publish client events from Kafka to Redis.")] = False,
    scheduler: Annotated[bool, typer.Option("--scheduler", help="Plan which LM workers own which partitions.")] = False,
    pipeline: Annotated[str | None, typer.Option(help="The pipeline, where there are several.")] = None,
    app: options.Apps = None,
) -> None:
    """Sets ALTO_APP and hands over to `faust -A alto_streams.app worker`."""
    options.choose_apps(app)
    rest = arguments or []
    stage = rest[0] if rest and not rest[0].startswith("-") else None
    given = rest if stage is None else rest[1:]
    known = load_pipelines(settings().pipelines)
    os.environ["ALTO_APP"] = role_of(stage, model, egress, pipeline, known, scheduler=scheduler)
    settings.cache_clear()
    _faust_worker(given)


def role_of(
    stage: str | None,
    model: str | None,
    egress: bool,
    pipeline: str | None,
    known: dict[str, Pipeline],
    *,
    scheduler: bool = False,
) -> str:
    """The role for `create_app`.

    Raises:
        ConfigError: not exactly one worker is named, or there is none of that name; says those that there are.
    """
    if (stage is not None) + (model is not None) + egress + scheduler != 1:
        raise ConfigError(
            "worker: name one of a stage, --model NAME, --egress or --scheduler; see `alto-streams worker --help`"
        )
    if scheduler:
        return "scheduler"
    if model is not None:
        models = sorted({name for each in known.values() for name in each.models()})
        if model not in models:
            raise ConfigError(f"worker: there is no model {model!r}; known: {', '.join(models)}")
        return f"model:{model}"
    chosen = _chosen(pipeline, known)
    if stage is None:
        return f"egress:{chosen.name}"
    if stage not in chosen.stages:
        names = ", ".join(chosen.stages)
        raise ConfigError(f"worker: pipeline {chosen.name} has no stage {stage!r}; known: {names}")
    return f"stage:{chosen.name}.{stage}"


def _chosen(name: str | None, known: dict[str, Pipeline]) -> Pipeline:
    names = ", ".join(known)
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name is None:
        raise ConfigError(f"worker: there are several pipelines; choose one with --pipeline: {names}")
    if name not in known:
        raise ConfigError(f"worker: there is no pipeline {name!r}; known: {names} (--app, ALTO_PIPELINES)")
    return known[name]


def _faust_worker(options: list[str]) -> None:
    import click
    from faust.cli.faust import cli
    from faust.cli.worker import worker as faust_worker

    faust_worker.on_worker_created = lambda *_: None  # a banner of boxes and colours is nothing for a log
    try:
        # Faust's own level, WARN, has it draw a spinner for each record, whose level it takes from ours (`log_config`).
        told = ["-A", "alto_streams.app", "worker", "--loglevel", "info", *options]
        cli.main(told, prog_name="faust", standalone_mode=False)
    except click.exceptions.Exit as end:
        raise typer.Exit(end.exit_code) from None
    except click.ClickException as error:
        raise ConfigError(f"worker: {error.format_message()}; see `faust -A alto_streams.app worker --help`") from None
