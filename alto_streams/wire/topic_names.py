"""The names of topics and of Faust apps: the one place that spells them."""

from __future__ import annotations


def requests_topic(pipeline: str) -> str:
    return f"requests.{pipeline}"


def home_topic(pipeline: str, stage: str) -> str:
    """Where everything about a stage's calls meets: keyed by its aggregation key."""
    return f"chunks.{pipeline}.{stage}"


def work_topic(pipeline: str, stage: str) -> str:
    return class_topic(prompt_class(pipeline, stage))


def prompt_class(pipeline: str, stage: str) -> str:
    """All calls of one LM stage."""
    return f"{pipeline}.{stage}"


def class_topic(prompt_class: str) -> str:
    """The work topic of a prompt class."""
    return f"work.{prompt_class}"


def class_of(work_topic: str) -> str:
    """The prompt class of a work topic."""
    return work_topic.removeprefix("work.")


def results_topic(pipeline: str) -> str:
    return f"results.{pipeline}"


def control_topic(pipeline: str) -> str:
    return f"control.{pipeline}"


def dead_letters_topic(pipeline: str) -> str:
    return f"dead-letters.{pipeline}"


def engines_topic() -> str:
    """What LM workers report of their engines, all models."""
    return "engines"


def plans_topic() -> str:
    """Which LM worker owns which partitions, and what is expected of each prompt class, by model."""
    return "plans"


def plan_key(model: str) -> str:
    return f"plan:{model}"


def forecast_key(model: str) -> str:
    return f"forecast:{model}"


def scheduler_app() -> str:
    return "alto.scheduler"


def stage_app(pipeline: str, stage: str) -> str:
    """The Faust app, and consumer group, of one stage."""
    return f"alto.{pipeline}.{stage}"


def model_app(model: str) -> str:
    """The Faust app, and consumer group, of the LM workers of one model."""
    return f"alto.lm.{model}"


def egress_app(pipeline: str) -> str:
    return f"alto.{pipeline}.egress"


def changelog_topic(pipeline: str, stage: str) -> str:
    """Where the rows of one stage are kept, compacted."""
    return f"{stage_app(pipeline, stage)}-rows-changelog"
