"""What topics a pipeline needs, what `topics.yaml` says of them, and how the two and a broker differ. Pure.

Faust assigns a table's changelog next to the topic it is fed from only if both have equally many partitions, so such
topics share a `group`. A partition count never changes in place: a key's home would move away from its row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from alto_streams.errors import TopicsError
from alto_streams.log.topic_fields import CLEANUPS, KEYS, duration, duration_text, named
from alto_streams.strict_yaml import StrictLoader
from alto_streams.wire import topic_names

HOME_PARTITIONS, WORK_PARTITIONS = 8, 24
DAY_MS, CONTROL_MS, DEAD_LETTERS_MS = 86_400_000, 600_000, 14 * 86_400_000
ENGINES_MS = 600_000  # a scheduler that starts reads all of it: reports decay, so older ones would change little
COMPRESSION = "compression.type"
FIELDS = {"key", "partitions", "cleanup", "retention", "group"}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic. `key`: what its records are keyed by (`none`: the sender chooses the partition, or there is but one).

    `retention_ms` is None for a compacted topic; `group` names the topics that must have equally many partitions.
    """

    name: str
    key: str
    partitions: int
    cleanup: str = "delete"
    retention_ms: int | None = DAY_MS
    group: str | None = None

    def config(self) -> dict[str, str]:
        """Kafka's topic settings.

        A segment is deleted or compacted only once it is closed, so segments close well before the retention ends:
        a worker reads the whole `control` topic when it starts.
        """
        if self.retention_ms is None:
            return {"cleanup.policy": self.cleanup, "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.3"}
        segment_ms = max(60_000, self.retention_ms // 4)
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "segment.ms": str(segment_ms),
        }


@dataclass(frozen=True, slots=True)
class TopicsFile:
    """What `topics.yaml` says. `source` is where it was read from, for errors."""

    source: str
    specs: tuple[TopicSpec, ...]
    _by_name: dict[str, TopicSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {spec.name: spec for spec in self.specs})

    def spec(self, topic: str) -> TopicSpec:
        """Raises `TopicsError` if the file does not name the topic."""
        if topic not in self._by_name:
            raise TopicsError(
                f"{self.source}: no topic {topic!r}; add what `alto-streams topics infer` prints for your pipeline"
            )
        return self._by_name[topic]

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises `TopicsError` if the file does not name it."""
        return self.spec(topic).partitions

    def shrunk(self, most: int) -> TopicsFile:
        """The same topics with at most so many partitions each, for a broker that serves one machine."""
        specs = tuple(replace(spec, partitions=min(spec.partitions, most)) for spec in self.specs)
        return TopicsFile(f"{self.source}, at most {most} partitions", specs)

    def lacks(self, required: Iterable[TopicSpec]) -> list[str]:
        """What keeps these from being the topics that `required` asks for, one line each.

        Partition counts are the file's to choose, within a group; keys, policies and groups are not.
        """
        problems = []
        for need in required:
            have = self._by_name.get(need.name)
            if have is None:
                problems.append(f"{self.source}: topic {need.name}: missing")
                continue
            for name in ("key", "cleanup", "group"):
                found, wanted = getattr(have, name), getattr(need, name)
                if found != wanted:
                    problems.append(f"{self.source}: topic {need.name}: {name} is {found}, must be {wanted}")
            if need.partitions == 1 and have.partitions != 1:
                problems.append(f"{self.source}: topic {need.name}: has {have.partitions} partitions, must have 1")
        return problems


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as a broker describes it; `config` holds only what the broker tells."""

    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One thing in which a broker's topic is not as wanted; `found` is None where the topic is missing."""

    topic: str
    what: str
    found: str | None
    wanted: str
    remedy: str

    def __str__(self) -> str:
        found = "missing" if self.found is None else f"is {self.found}"
        return f"topic {self.topic}: {self.what} {found}, wanted {self.wanted}; {self.remedy}"


def required_topics(pipeline: str, stages: Sequence[str], lm_stages: Collection[str]) -> list[TopicSpec]:
    """All topics that a pipeline has for itself. `lm_stages` are those of its `stages` that call a language model.

    No Faust app needs others: the leader topic and the reply topics are switched off.
    """
    names = topic_names
    specs = [TopicSpec(names.requests_topic(pipeline), "request", HOME_PARTITIONS)]
    for stage in stages:
        group = f"{pipeline}.{stage}"
        home, changelog = names.home_topic(pipeline, stage), names.changelog_topic(pipeline, stage)
        specs.append(TopicSpec(home, "request", HOME_PARTITIONS, group=group))
        specs.append(TopicSpec(changelog, "row", HOME_PARTITIONS, "compact", None, group))
    specs += [TopicSpec(names.work_topic(pipeline, s), "none", WORK_PARTITIONS) for s in stages if s in lm_stages]
    specs.append(TopicSpec(names.results_topic(pipeline), "request", HOME_PARTITIONS))
    specs.append(TopicSpec(names.control_topic(pipeline), "none", 1, retention_ms=CONTROL_MS))
    specs.append(TopicSpec(names.dead_letters_topic(pipeline), "none", 1, retention_ms=DEAD_LETTERS_MS))
    return specs


def scheduler_topics() -> list[TopicSpec]:
    """What is there once for all pipelines: one partition each, since one scheduler decides for all models."""
    return [
        TopicSpec(topic_names.engines_topic(), "worker", 1, retention_ms=ENGINES_MS),
        TopicSpec(topic_names.plans_topic(), "plan", 1, "compact", None),
    ]


def default_path() -> Path:
    """`topics.yaml` of this installation: inside the package in a wheel, beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "topics.yaml"
    return packaged if packaged.exists() else packaged.parents[1] / "topics.yaml"


def load_topics(path: Path | None = None) -> TopicsFile:
    """Read and check a topics file (the installation's own by default).

    Raises:
        TopicsError: the file cannot be read, or names a topic wrongly; with file, topic and field.
    """
    path = path or default_path()
    try:
        return parse_topics(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise TopicsError(f"{path}: cannot be read ({error.strerror}); set ALTO_TOPICS_FILE") from None


def parse_topics(text: str, source: str) -> TopicsFile:
    """The topics that a YAML text names. Raises `TopicsError`."""
    try:
        document = yaml.load(text, StrictLoader)  # noqa: S506  a SafeLoader that refuses duplicate keys
    except (yaml.YAMLError, TypeError) as error:
        raise TopicsError(f"{source}: no valid YAML: {error}") from None
    topics = document.get("topics") if isinstance(document, dict) else None
    if not isinstance(topics, dict) or not topics:
        raise TopicsError(f"{source}: expected a mapping `topics:` from topic names to their fields")
    specs = tuple(_spec(source, name, fields) for name, fields in topics.items())
    groups: dict[str, TopicSpec] = {}
    for spec in specs:
        first = groups.setdefault(spec.group, spec) if spec.group else spec
        if first.partitions != spec.partitions:
            raise TopicsError(
                f"{source}: topic {spec.name}: {spec.partitions} partitions, but {first.name} of the same group "
                f"{spec.group} has {first.partitions}; co-partitioned topics need equal counts"
            )
    return TopicsFile(source, specs)


def to_yaml(specs: Iterable[TopicSpec]) -> str:
    """The block of `topics.yaml` that says this; `parse_topics` reads it back."""
    lines = ["topics:"]
    for spec in specs:
        fields = [f"key: {spec.key}", f"partitions: {spec.partitions}", f"cleanup: {spec.cleanup}"]
        if spec.retention_ms is not None:
            fields.append(f"retention: {duration_text(spec.retention_ms)}")
        if spec.group is not None:
            fields.append(f"group: {spec.group}")
        lines.append(f"  {spec.name}: {{{', '.join(fields)}}}")
    return "\n".join(lines) + "\n"


def differences(
    wanted: Iterable[TopicSpec],
    found: Mapping[str, FoundTopic],
    is_readable: Callable[[str], bool] = lambda compression: True,
) -> list[TopicDifference]:
    """In what a broker's topics are not as wanted. Settings that the broker does not tell are not compared.

    `is_readable`: whether workers can read what a broker compresses so; most brokers leave records as they came.
    """
    result = []
    for spec in wanted:
        topic = found.get(spec.name)
        if topic is None:
            wish = f"{spec.partitions} partitions"
            result.append(TopicDifference(spec.name, "the topic", None, wish, "run `alto-streams topics apply`"))
            continue
        if topic.partitions != spec.partitions:
            remedy = (
                "its keys would change their homes, so it is never changed in place: say that it has "
                f"{topic.partitions} in a topics file (ALTO_TOPICS_FILE), or drain the pipeline, delete its topics and "
                "apply anew"
            )
            result.append(
                TopicDifference(spec.name, "partition count", str(topic.partitions), str(spec.partitions), remedy)
            )
        for key, value in spec.config().items():
            have = topic.config.get(key)
            if have is not None and have != value:
                remedy = f"set it with `kafka-configs --alter --topic {spec.name} --add-config {key}={value}`"
                result.append(TopicDifference(spec.name, key, have, value, remedy))
        codec = topic.config.get(COMPRESSION)
        if codec is not None and not is_readable(codec):
            remedy = "workers with this installation cannot read its records: pip install cramjam, or set it back"
            result.append(TopicDifference(spec.name, COMPRESSION, codec, "producer", remedy))
    return result


def _spec(source: str, name: Any, fields: Any) -> TopicSpec:
    where = f"{source}: topic {name}"
    if not named(name):
        raise TopicsError(f"{where}: a topic's name has 1 to 249 letters, digits, dots, dashes and underscores")
    if not isinstance(fields, dict) or not set(fields) <= FIELDS or not {"key", "partitions"} <= set(fields):
        raise TopicsError(f"{where}: fields are key and partitions, and may be cleanup, retention and group")
    key, partitions, cleanup = fields["key"], fields["partitions"], fields.get("cleanup", "delete")
    if key not in KEYS:
        raise TopicsError(f"{where}: key is {key!r}; expected one of {', '.join(KEYS)}")
    if not isinstance(partitions, int) or isinstance(partitions, bool) or partitions < 1:
        raise TopicsError(f"{where}: partitions is {partitions!r}; expected a whole number of at least 1")
    if cleanup not in CLEANUPS:
        raise TopicsError(f"{where}: cleanup is {cleanup!r}; expected one of {', '.join(CLEANUPS)}")
    if ("retention" in fields) != (cleanup == "delete"):
        raise TopicsError(f"{where}: a topic with cleanup `delete` has a retention, a compacted one has none")
    retention_ms = duration(fields["retention"]) if "retention" in fields else None
    if "retention" in fields and retention_ms is None:
        raise TopicsError(f"{where}: retention is {fields['retention']!r}; expected e.g. 10m, 24h or 14d")
    group = fields.get("group")
    if group is not None and not isinstance(group, str):
        raise TopicsError(f"{where}: group is {group!r}; expected a name")
    return TopicSpec(name, key, partitions, cleanup, retention_ms, group)
