"""`topics.yaml` names what the built-in pipeline needs; what it says wrongly is refused with topic and field."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.errors import TopicsError
from alto_streams.log.topic_fields import duration, duration_text
from alto_streams.log.topics_file import (
    FoundTopic,
    TopicSpec,
    default_path,
    differences,
    load_topics,
    parse_topics,
    required_topics,
    scheduler_topics,
    to_yaml,
)

STAGES = ["answer", "claims", "queries", "evidence", "verdict", "report"]
LM_STAGES = ["answer", "claims", "queries", "verdict"]


def test_the_file_names_what_factcheck_needs_and_nothing_else() -> None:
    required = required_topics("factcheck", STAGES, LM_STAGES) + scheduler_topics()
    topics = load_topics()
    assert topics.lacks(required) == []
    assert {spec.name for spec in topics.specs} == {spec.name for spec in required}
    assert len(required) == 22
    assert topics.partitions("work.factcheck.verdict") == 24
    assert topics.partitions("alto.factcheck.claims-rows-changelog") == topics.partitions("chunks.factcheck.claims")


def test_a_topic_that_the_file_does_not_name_is_an_error_with_the_remedy() -> None:
    with pytest.raises(TopicsError, match=r"topics\.yaml: no topic 'work\.mine\.answer'.*topics infer"):
        load_topics().partitions("work.mine.answer")


def test_what_infer_prints_is_read_back() -> None:
    required = required_topics("mine", ["points", "summary"], ["points"]) + scheduler_topics()
    assert parse_topics(to_yaml(required), "printed").specs == tuple(required)


def test_each_difference_to_the_required_topics_is_named() -> None:
    text = to_yaml(required_topics("mine", ["points"], ["points"]))
    text = text.replace("control.mine: {key: none, partitions: 1", "control.mine: {key: none, partitions: 2")
    text = text.replace("results.mine: {key: request", "results.mine: {key: none").replace("  requests.mine", "  other")
    found = parse_topics(text, "f.yaml").lacks(required_topics("mine", ["points"], ["points"]))
    assert found == [
        "f.yaml: topic requests.mine: missing",
        "f.yaml: topic results.mine: key is none, must be request",
        "f.yaml: topic control.mine: has 2 partitions, must have 1",
    ]


def test_other_partition_counts_are_the_files_to_choose() -> None:
    text = to_yaml(required_topics("mine", ["points"], ["points"])).replace("partitions: 8", "partitions: 32")
    assert parse_topics(text, "f.yaml").lacks(required_topics("mine", ["points"], ["points"])) == []


def test_one_scheduler_decides_for_all_models() -> None:
    text = to_yaml(scheduler_topics())
    found = parse_topics(text.replace("partitions: 1", "partitions: 2"), "f.yaml").lacks(scheduler_topics())
    assert found == [f"f.yaml: topic {name}: has 2 partitions, must have 1" for name in ("engines", "plans")]
    found = parse_topics(text.replace("compact", "delete, retention: 1d"), "f.yaml").lacks(scheduler_topics())
    assert found == ["f.yaml: topic plans: cleanup is delete, must be compact"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("{key: request, partitions: 0, retention: 1d}", "partitions is 0"),
        ("{key: request, partitions: yes, retention: 1d}", "partitions is True"),
        ("{key: user, partitions: 1, retention: 1d}", "key is 'user'"),
        ("{key: request, partitions: 1}", "has a retention"),
        ("{key: request, partitions: 1, cleanup: compact, retention: 1d}", "a compacted one has none"),
        ("{key: request, partitions: 1, retention: soon}", "retention is 'soon'"),
        ("{key: request, partitions: 1, retention: 60}", "retention is 60"),
        ("{key: request, partitions: 1, cleanup: never, retention: 1d}", "cleanup is 'never'"),
        ("{key: request, partitions: 1, retention: 1d, replication: 3}", "fields are key and partitions"),
        ("{key: request, partitions: 1, retention: 1d, group: 3}", "group is 3"),
        ("8", "fields are key and partitions"),
    ],
)
def test_a_wrong_field_is_named(fields: str, said: str) -> None:
    with pytest.raises(TopicsError, match="f.yaml: topic a.b: .*" + said.replace("{", r"\{")):
        parse_topics(f"topics:\n  a.b: {fields}\n", "f.yaml")


@pytest.mark.parametrize("text", ["", "topics: []", "a: 1", "topics: {}", "topics: {a: [}", "[1]"])
def test_a_file_that_is_no_topics_file_is_refused(text: str) -> None:
    with pytest.raises(TopicsError, match=r"f\.yaml"):
        parse_topics(text, "f.yaml")


def test_a_topic_named_twice_is_refused() -> None:
    topic = "  a: {key: none, partitions: 1, retention: 1d}\n"
    with pytest.raises(TopicsError, match="'a' stands twice"):
        parse_topics("topics:\n" + topic + topic, "f.yaml")


def test_an_impossible_name_is_refused() -> None:
    with pytest.raises(TopicsError, match="letters, digits"):
        parse_topics("topics:\n  'a b': {key: none, partitions: 1, retention: 1d}\n", "f.yaml")


def test_co_partitioned_topics_need_equal_counts() -> None:
    text = to_yaml([TopicSpec("a", "request", 8, group="g"), TopicSpec("b", "row", 4, "compact", None, "g")])
    with pytest.raises(TopicsError, match="topic b: 4 partitions, but a of the same group g has 8"):
        parse_topics(text, "f.yaml")


def test_an_unreadable_file_is_told_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(TopicsError, match=r"none\.yaml: cannot be read .*ALTO_TOPICS_FILE"):
        load_topics(tmp_path / "none.yaml")


def test_differences_to_a_broker() -> None:
    specs = [TopicSpec("a", "request", 8), TopicSpec("b", "request", 8), TopicSpec("c", "request", 8)]
    found = {
        "a": FoundTopic(8, specs[0].config()),
        "b": FoundTopic(4, {"retention.ms": "5", "flush.ms": "1"}),
    }
    told = differences(specs, found)
    assert [(one.topic, one.what, one.found, one.wanted) for one in told] == [
        ("b", "partition count", "4", "8"),
        ("b", "retention.ms", "5", "86400000"),
        ("c", "the topic", None, "8 partitions"),
    ]
    assert "kafka-configs" in str(told[1])
    assert str(told[2]) == "topic c: the topic missing, wanted 8 partitions; run `alto-streams topics apply`"


def test_segments_close_before_their_retention_ends() -> None:
    for spec in load_topics().specs:
        config = spec.config()
        assert spec.retention_ms is None or int(config["segment.ms"]) < int(config["retention.ms"])


@given(st.integers(1, 999_999))
def test_durations_are_read_back(seconds: int) -> None:
    assert duration(duration_text(seconds * 1000)) == seconds * 1000


def test_a_wheel_carries_the_file(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)]
    subprocess.run(build, check=True, cwd=default_path().parent, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert packed.read("alto_streams/topics.yaml") == default_path().read_bytes()
