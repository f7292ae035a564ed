"""What the stages of a model need of its engine: a worker does not start on one that lacks it.

Known from a stage itself are those needs without which its calls would fail: to continue a broken call, where it is not
begun anew; and the schema or regular expression of its example's prompt, for an engine without them refuses the call.
Grammar, choices and log-probabilities an engine may leave out, so a stage that is worth nothing without says `needs=`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from alto_streams.agents.lm.away import Trouble
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import CallRejected, ConfigError, EngineUnavailable
from alto_streams.models.protocol import Capabilities, Engine
from alto_streams.parts import Backoff
from alto_streams.wire.records import Call

Examples = Sequence[tuple[Pipeline, str, Call | None]]  # the stages of a model, each with its example's call

log = logging.getLogger(__name__)

CONTINUES = "continues"


def examples_of(stages: Sequence[tuple[Pipeline, str]]) -> Examples:
    """The stages with the calls that their pipelines' examples make; none where an author's function raises."""
    return [(pipeline, stage, _example(pipeline, stage)) for pipeline, stage in stages]


def needs_of(pipeline: Pipeline, stage: str, example: Call | None) -> list[str]:
    """The names of the capabilities that the engine of a stage must have, in the order of `Capabilities`."""
    defined = pipeline.stages[stage]
    needs = set[str](defined.needs)
    if not defined.node.redoes:
        needs.add(CONTINUES)
    if example is not None:
        needs |= {name for name in ("json_schema", "regex") if getattr(example, name) is not None}
    return [name for name in Capabilities.__dataclass_fields__ if name in needs]


def check_needs(engine: Engine, model: str, examples: Examples) -> None:
    """Hold an engine that has been reached against its stages.

    Raises:
        ConfigError: it lacks something, naming each stage with what it needs, and what to do about it.
    """
    able, lacks, resumed = engine.capabilities, list[str](), list[str]()
    for pipeline, stage, example in examples:
        name = f"{pipeline.name}.{stage}"
        missing = [need for need in needs_of(pipeline, stage, example) if not getattr(able, need)]
        if missing:
            lacks.append(f"{name} needs {', '.join(missing)}")
        if CONTINUES in missing:
            resumed.append(name)
    if not lacks:
        return
    redo = (
        f"set ALTO_REDO={','.join(resumed)}, or start with `up --redo`, so that broken calls begin anew instead of "
        "continuing; or "
    )
    raise ConfigError(
        f"{engine.name} lacks what the stages of model {model} need: {'; '.join(lacks)}. Remedy: "
        f"{redo if resumed else ''}name another engine for {model} in ALTO_MODELS, or the right ?dialect= of this one "
        f"(`alto-streams engines check {model}` shows what it can do)"
    )


async def until_checked(engine: Engine, model: str, examples: Examples, trouble: Trouble | None = None) -> None:
    """Return once the engine has been reached, and has what its stages need. Raises `ConfigError` as `check_needs`.

    `trouble` is told why it does not answer meanwhile.
    """
    backoff, told = Backoff(), ""
    while True:
        try:
            await engine.ready()
        except (EngineUnavailable, CallRejected) as error:
            if str(error) != told:
                log.warning("%s; waiting for it", error)
            told = str(error)
            if trouble is not None:
                trouble.failed(error)
            await asyncio.sleep(backoff.next_s())
        else:
            if trouble is not None:
                trouble.over()
            return check_needs(engine, model, examples)


def cannot_continue(model: str, stage: str) -> str:
    """Why a broken call of this stage fails on an engine that cannot go on from a prefix, and what to do about it."""
    return (
        f"stage {stage}: the engine of model {model} cannot continue a turn, so its broken calls cannot be resumed: "
        'declare it with broken="redo", or name it in ALTO_REDO'
    )


def _example(pipeline: Pipeline, stage: str) -> Call | None:
    try:
        return pipeline.example_call(stage)
    except Exception as error:  # the author's function: of a real call it makes a failed leaf, and no more here
        log.warning("%s.%s: its prompt of the examples raised %s", pipeline.name, stage, type(error).__name__)
        return None
