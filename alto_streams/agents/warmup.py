"""Fills an engine's prefix cache before the first request: one token of each prompt class, from its pipeline's example.

The fixed part of a prompt class is prefilled once and then cached. Without a warm-up the first request pays for it, for
each class in turn. It is a convenience: whatever fails here is left to the calls themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import cast

import msgspec

from alto_streams.agents.lm import cannot_continue
from alto_streams.models.protocol import CallRejected, Engine, EngineUnavailable, Piece
from alto_streams.pipeline import Pipeline
from alto_streams.records import Call

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0


async def warm_up(engine: Engine, stages: Sequence[tuple[Pipeline, str]]) -> None:
    """Make the example calls of these stages, one after the other, each for one token."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await engine.ready()  # it then knows what it can do
            for pipeline, stage in stages:
                call = _example(pipeline, stage)
                if call is not None:
                    await _one_token(engine, call, f"{pipeline.name}.{stage}")
    except (EngineUnavailable, CallRejected, TimeoutError) as error:
        log.info("%s was not warmed up: %s", engine.name, error or type(error).__name__)
    else:
        _warn_of_breaks(engine, stages)


def _warn_of_breaks(engine: Engine, stages: Sequence[tuple[Pipeline, str]]) -> None:
    """Warn of stages that resume on an engine that cannot.

    No reason to refuse to start: most hosted APIs cannot, and only a call that breaks off in its middle is lost.
    """
    if engine.capabilities.continues:
        return
    for pipeline, name in stages:
        stage = pipeline.stages[name]
        if not stage.node.redoes:
            log.warning("%s: %s", engine.name, cannot_continue(stage.model or "", f"{pipeline.name}.{name}"))


def _example(pipeline: Pipeline, stage: str) -> Call | None:
    try:
        return pipeline.example_call(stage)
    except Exception as error:  # the author's function: of a real call it makes a failed leaf, and no more here
        log.warning("%s.%s: its prompt of the examples raised %s", pipeline.name, stage, type(error).__name__)
        return None


async def _one_token(engine: Engine, call: Call, prompt_class: str) -> None:
    call = msgspec.structs.replace(call, max_tokens=1)
    pieces = cast("AsyncGenerator[Piece, None]", engine.generate(call, prompt_class=prompt_class))
    async with contextlib.aclosing(pieces):
        async for _ in pieces:
            pass
