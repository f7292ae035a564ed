"""A tree of calls to be cancelled: one `plans` call, one `steps` call per branch of it, one `details` call per step.

A slow engine writes the lines of each call at once and goes on with its last line for a long time, so that all calls of
a request run at once. The first turn of a call says of which stage it is, the last one which call: the request's name,
then the numbers that make up its path.
"""

from __future__ import annotations

from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Message

MODEL = "slow"
WIDTH = 4  # branches of a request, and steps of a branch
TOKENS = 100_000


class Task(Record):
    """The request: a name of its own."""

    name: str


class Branch(Record):
    """A line of `plans`."""

    name: str


class Step(Record):
    """A line of `steps`."""

    name: str


class Detail(Record):
    """A line of `details`."""

    name: str


class Total(Record):
    """How many details there were."""

    details: int


pipeline = Pipeline("fanout", request=Task)


@pipeline.generate(model=MODEL, show="text")
def plans(task: Task) -> Prompt[Branch]:
    return Prompt([Message("system", "plans")], task.name, Lines(Branch, limit=WIDTH), TOKENS)


@pipeline.generate(model=MODEL, show="nothing")
def steps(branch: Branch) -> Prompt[Step]:
    return Prompt([Message("system", "steps")], branch.name, Lines(Step, limit=WIDTH), TOKENS)


@pipeline.generate(model=MODEL, show="nothing")
def details(step: Step) -> Prompt[Detail]:
    return Prompt([Message("system", "details")], step.name, Lines(Detail, limit=1), TOKENS)


@pipeline.gather
def total(details: Gather[Detail]) -> Total:
    return Total(len(details))


def lines_of(stage: str, name: str) -> str:
    """What a call writes at once: its children, by name."""
    return "" if stage == "details" else "".join(f"{name} {number}\n" for number in range(WIDTH))
