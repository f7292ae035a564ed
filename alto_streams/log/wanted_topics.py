"""The topics that pipelines run on: what a topics file says of them, and for the others what is inferred. Pure.

Every process of a system comes to the same answer by itself: `up`, workers, `topics apply` and `topics check`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import TopicsError
from alto_streams.log.topics_file import TopicsFile, TopicSpec, load_topics, required_topics, scheduler_topics


def required_by(pipelines: Iterable[Pipeline]) -> list[TopicSpec]:
    """All topics that a system of these pipelines needs, as they are inferred."""
    specs: list[TopicSpec] = []
    for pipeline in pipelines:
        callers = [stage for stages in pipeline.models().values() for stage in stages]
        specs += required_topics(pipeline.name, list(pipeline.stages), callers)
    return specs + scheduler_topics()


def topics_of(path: Path | None, pipelines: Iterable[Pipeline]) -> TopicsFile:
    """The topics of these pipelines. `path`: a topics file of one's own; None for that of the installation.

    What the file names, it rules; a topic that it does not name is inferred, with as many partitions as the file gives
    to others of its group. Of the installation's file only what these pipelines need counts.

    Raises:
        TopicsError: the file cannot be read, or says something of a topic that the pipelines cannot run on.
    """
    file, required = load_topics(path), required_by(pipelines)
    named = {spec.name: spec for spec in file.specs}
    wrong = file.lacks(spec for spec in required if spec.name in named)
    if wrong:
        raise TopicsError(
            "\n".join([*wrong, f"correct this in {file.source}, or leave the topic out of it: then it is inferred"])
        )
    counts = {spec.group: spec.partitions for spec in file.specs if spec.group is not None}
    needed = {spec.name for spec in required}
    ruled = [spec for spec in file.specs if path is not None or spec.name in needed]
    inferred = [
        replace(spec, partitions=counts.get(spec.group, spec.partitions)) if spec.group is not None else spec
        for spec in required
        if spec.name not in named
    ]
    pipelines_alone = not any(spec.name in needed - _shared() for spec in ruled)
    source = "what is inferred from the pipelines" if pipelines_alone else file.source
    return TopicsFile(source, (*ruled, *inferred))


def _shared() -> set[str]:
    return {spec.name for spec in scheduler_topics()}
