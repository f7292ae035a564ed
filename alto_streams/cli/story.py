"""`alto-streams story`: what became of a request, and why, from the log alone."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from alto_streams.cli.log_reading import read_log
from alto_streams.errors import ConfigError
from alto_streams.settings import settings


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(story)


def story(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id.")],
    pipeline: Annotated[str | None, typer.Option(help="Look in this pipeline only.")] = None,
    stage: Annotated[str | None, typer.Option(help="Each record at the home of this stage.")] = None,
    path: Annotated[
        str | None, typer.Option(help="Of --stage, only what concerns the call at this path, such as 0/1.")
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Also what records carry, which may hold what a user wrote.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: the summary, or with --stage a record each.")
    ] = False,
) -> None:
    """Tell what became of a request: which record, which decision, which cause.

    Without --stage: how the request ended, and the calls that failed or were tried again. With it: each record at that
    stage's home, what was decided, and what the home did then. The decisions are made again from the records of the
    log, with the pipeline and the bounds that are set here; the system itself is left alone.
    """
    from alto_streams.cli import story_view
    from alto_streams.define.loading import load_pipelines
    from alto_streams.errors import Poison
    from alto_streams.history.story import story_of
    from alto_streams.log.wanted_topics import topics_of

    config = settings()
    known = load_pipelines(config.pipelines)
    if pipeline is not None and pipeline not in known:
        raise ConfigError(f"--pipeline {pipeline}: there is none of that name; known: {', '.join(known)}")
    if path is not None and stage is None:
        raise ConfigError("--path says which call of a stage: give --stage as well")
    wanted = [each for name, each in known.items() if pipeline in (None, name)]
    if stage is not None and not any(stage in each.stages for each in wanted):
        stages = ", ".join(name for each in wanted for name in each.stages)
        raise ConfigError(f"--stage {stage}: there is none of that name; known: {stages}")
    try:
        found = read_log(story_of(config, wanted, request, topics_of(config.topics_file, wanted)))
    except Poison as error:
        raise ConfigError(f"{request!r}: {error}; give the id that the gateway answered with") from None
    if stage is None:
        lines = [json.dumps(story_view.summary(found))] if as_json else story_view.told(found)
    else:
        steps = story_view.steps_of(found, stage, path)
        shown = [story_view.fields(found, step, text=text) for step in steps]
        lines = [json.dumps(each) for each in shown] if as_json else story_view.told_steps(found, stage, path, shown)
    for line in lines:
        typer.echo(line)
