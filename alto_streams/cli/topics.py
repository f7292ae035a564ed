"""`alto-streams topics`: makes, verifies and infers the topics of `topics.yaml`."""

from __future__ import annotations

import asyncio

import typer

from alto_streams.cli.groups import group
from alto_streams.define.loading import load_pipelines
from alto_streams.errors import CommandFailed
from alto_streams.log.topics_file import TopicsFile, to_yaml
from alto_streams.log.wanted_topics import required_by, topics_of
from alto_streams.settings import settings

app = group(
    "Make and verify the topics of the pipelines (ALTO_PIPELINES, ALTO_TOPICS_FILE) on the broker (ALTO_BROKER)."
)


@app.command()
def apply() -> None:
    """Create the topics that are missing. A partition count is never changed in place."""
    from alto_streams.log import topic_admin

    config, wanted = settings(), _wanted()
    applied = asyncio.run(topic_admin.apply(config.broker, wanted.specs, config.replication))
    for name in applied.created:
        typer.echo(f"created {name}")
    typer.echo(f"{len(applied.created)} topics created, {len(wanted.specs) - len(applied.created)} were there")
    _say_differences([str(one) for one in applied.differing])


@app.command()
def check() -> None:
    """Say in what the broker's topics are not as wanted; exit code 1 if they are not."""
    from alto_streams.log import topic_admin

    wanted = _wanted()
    found = asyncio.run(topic_admin.check(settings().broker, wanted.specs))
    _say_differences([str(one) for one in found])
    typer.echo(f"all {len(wanted.specs)} topics are as wanted ({wanted.source})")


@app.command()
def infer() -> None:
    """Print what is inferred for the pipelines, as a topics file (ALTO_TOPICS_FILE) says it: to change it there."""
    typer.echo(to_yaml(required_by(load_pipelines(settings().pipelines).values())), nl=False)


def _wanted() -> TopicsFile:
    config = settings()
    return topics_of(config.topics_file, load_pipelines(config.pipelines).values())


def _say_differences(differences: list[str]) -> None:
    for difference in differences:
        typer.echo(difference)
    if differences:
        raise CommandFailed(f"{len(differences)} differences from what is wanted")
