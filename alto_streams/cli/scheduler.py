"""`alto-streams scheduler`: what the scheduler has planned, and why the calls of a request went where they went."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from alto_streams.cli.groups import group
from alto_streams.cli.log_reading import pipelines_of, read_log
from alto_streams.errors import CommandFailed, ConfigError
from alto_streams.settings import settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from alto_streams.define.pipeline import Pipeline

PLAIN_WIDTH = 120  # where no terminal says how wide it is

app = group("Show what the scheduler has planned and what it goes by, and explain where the calls of a request went.")


@app.command()
def show(
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a model, one a line.")] = False,
) -> None:
    """Show each model's plan, its prompt classes and its workers.

    Who owns how many partitions of which class, with weights; what is expected of each class; what each worker holds
    at this moment. Reads the topics `plans` and `engines` (of the last ten minutes), and the live loads from Redis.
    """
    from alto_streams.cli import scheduler_view
    from alto_streams.history.plans import known

    config = settings()
    pipelines = _pipelines(None)
    models = sorted({name for pipeline in pipelines for name in pipeline.models()})
    if model is not None and model not in models:
        raise ConfigError(f"--model {model}: there is none of that name; known: {', '.join(models)} (ALTO_PIPELINES)")
    found = read_log(known(config, pipelines, models))
    wanted = models if model is None else [model]
    shown = [scheduler_view.fields(found, each) for each in wanted]
    if not any(each["plan"] or each["workers"] for each in shown):
        raise CommandFailed(
            f"nothing is known of {', '.join(wanted)}: there is no plan, and no LM worker has reported in the last ten "
            "minutes; start one with `alto-streams worker --model NAME`, or the whole system with `alto-streams up`"
        )
    if as_json:
        for each in shown:
            typer.echo(json.dumps(each))
    else:
        _print(part for each in shown for part in scheduler_view.drawn(each))


@app.command()
def explain(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id.")],
    pipeline: Annotated[str | None, typer.Option(help="Look in this pipeline only.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only calls of this stage.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a dispatch, one a line.")] = False,
) -> None:
    """Explain each dispatch of a request: who was compared, who was chosen, and why.

    From the receipts on its work items, for as long as the log keeps these. No text of a user is shown.
    """
    from alto_streams.cli import dispatch_view
    from alto_streams.errors import Poison
    from alto_streams.history.dispatches import course_of
    from alto_streams.log.wanted_topics import topics_of

    pipelines = _pipelines(pipeline)
    models = {each.name: each.models() for each in pipelines}
    stages = sorted({name for each in models.values() for callers in each.values() for name in callers})
    if stage is not None and stage not in stages:
        raise ConfigError(f"--stage {stage}: no stage of that name calls a model; known: {', '.join(stages)}")
    try:
        found = read_log(course_of(settings(), models, request, topics_of(settings().topics_file, pipelines)))
    except Poison as error:
        raise ConfigError(f"{request!r}: {error}; give the id that the gateway answered with") from None
    if not found.dispatches and found.may_lack:
        raise CommandFailed(
            f"request {request}: its work items are not in {', '.join(found.may_lack)} any more, which keep them for "
            "their retention only"
        )
    found.dispatches = [each for each in found.dispatches if stage in (None, each.stage)]
    if as_json:
        for dispatched in found.dispatches:
            typer.echo(json.dumps(dispatch_view.fields(found, dispatched)))
    else:
        _print(dispatch_view.drawn(found))


def _pipelines(name: str | None) -> list[Pipeline]:
    from alto_streams.define.loading import load_pipelines

    known = load_pipelines(settings().pipelines)
    return [known[each] for each in pipelines_of(name)]


def _print(parts: Iterable[RenderableType]) -> None:
    """Tables fold their cells to the width of the terminal, or of COLUMNS."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PLAIN_WIDTH
    for part in parts:
        console.print(part)
