"""A topics file rules what it names; all other topics of a pipeline are inferred, on every process alike."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alto_streams.define.loading import pipeline_at
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import TopicsError
from alto_streams.log.topics_file import WORK_PARTITIONS, load_topics
from alto_streams.log.wanted_topics import required_by, topics_of
from alto_streams.pipelines.factcheck import pipeline as factcheck
from tests.readme import write_summaries

WORK = "  work.summaries.answers: {key: none, partitions: 5, retention: 1h}\n"
HOME = "  chunks.summaries.answers: {key: request, partitions: 3, retention: 1h, group: summaries.answers}\n"
ALIEN = "  audit: {key: none, partitions: 2, retention: 1h}\n"


@pytest.fixture
def summaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    write_summaries(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield pipeline_at("summaries:pipeline")
    sys.modules.pop("summaries")


def written(folder: Path, *topics: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text("topics:\n" + "".join(topics))
    return path


def test_a_pipeline_that_no_file_names_gets_its_topics(summaries: Pipeline) -> None:
    topics = topics_of(None, [summaries])
    assert {spec.name for spec in topics.specs} == {spec.name for spec in required_by([summaries])}
    assert topics.partitions("work.summaries.answers") == WORK_PARTITIONS
    assert topics.lacks(required_by([summaries])) == []
    assert "inferred" in topics.source


def test_beside_a_pipeline_that_the_installation_names(summaries: Pipeline) -> None:
    both = topics_of(None, [factcheck, summaries])
    assert {spec.name for spec in both.specs} == {spec.name for spec in required_by([factcheck, summaries])}
    assert set(load_topics().specs) < set(both.specs)
    assert both.source == load_topics().source


def test_what_a_file_names_it_rules(summaries: Pipeline, tmp_path: Path) -> None:
    topics = topics_of(written(tmp_path, WORK, ALIEN), [summaries])
    assert topics.partitions("work.summaries.answers") == 5
    assert topics.spec("work.summaries.answers").retention_ms == 3_600_000
    assert topics.partitions("audit") == 2
    assert topics.partitions("work.summaries.questions") == WORK_PARTITIONS


def test_the_others_of_a_group_have_as_many_partitions(summaries: Pipeline, tmp_path: Path) -> None:
    topics = topics_of(written(tmp_path, HOME), [summaries])
    assert topics.partitions("alto.summaries.answers-rows-changelog") == 3
    assert topics.partitions("chunks.summaries.questions") != 3


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        (WORK.replace("key: none", "key: request"), r"work.summaries.answers: key is request, must be none"),
        (HOME.replace(", group: summaries.answers", ""), r"group is None, must be summaries\.answers"),
        ("  plans: {key: plan, partitions: 2, cleanup: compact}\n", r"plans: has 2 partitions, must have 1"),
    ],
)
def test_a_file_that_a_pipeline_cannot_run_on_is_refused(
    summaries: Pipeline, tmp_path: Path, topic: str, says: str
) -> None:
    with pytest.raises(TopicsError, match=rf"mine\.yaml: topic .*{says}"):
        topics_of(written(tmp_path, topic), [summaries])
