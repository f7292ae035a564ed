"""A pipeline whose requests are shed: one `plans` call, one `steps` call for each line of it, on a slow engine."""

from __future__ import annotations

from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Message

MODEL = "slow"


class Task(Record):
    """The request."""

    name: str


class Branch(Record):
    """A line of `plans`."""

    name: str


class Step(Record):
    """A line of `steps`."""

    name: str


class Total(Record):
    """How many steps there were."""

    steps: int


pipeline = Pipeline("hurried", request=Task, shed=True)


@pipeline.generate(model=MODEL, show="text")
def plans(task: Task) -> Prompt[Branch]:
    return Prompt([Message("system", "plans")], task.name, Lines(Branch, limit=4), 100_000)


@pipeline.generate(model=MODEL, show="nothing")
def steps(branch: Branch) -> Prompt[Step]:
    return Prompt([Message("system", "steps")], branch.name, Lines(Step, limit=4), 100_000)


@pipeline.gather
def total(steps: Gather[Step]) -> Total:
    return Total(len(steps))
