"""Fills an engine's prefix cache before the first request: one token of each prompt class, from its pipeline's example.

The fixed part of a prompt class is prefilled once and then cached. Without a warm-up the first request pays for it, for
each class in turn. It is a convenience: whatever fails here is left to the calls themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import cast

import msgspec

from alto_streams.agents.lm.needs import Examples, check_needs
from alto_streams.errors import CallRejected, EngineUnavailable
from alto_streams.models.protocol import Engine, Piece
from alto_streams.wire.records import Call

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0


async def warm_up(engine: Engine, model: str, examples: Examples) -> None:
    """Make the example calls of these stages, one after the other, each for one token.

    Raises:
        ConfigError: the engine lacks what a stage needs.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await engine.ready()  # it then knows what it can do
            check_needs(engine, model, examples)
            for pipeline, stage, call in examples:
                if call is not None:
                    await _one_token(engine, call, f"{pipeline.name}.{stage}")
    except (EngineUnavailable, CallRejected, TimeoutError) as error:
        log.info("%s was not warmed up: %s", engine.name, error or type(error).__name__)


async def _one_token(engine: Engine, call: Call, prompt_class: str) -> None:
    call = msgspec.structs.replace(call, max_tokens=1)
    pieces = cast("AsyncGenerator[Piece, None]", engine.generate(call, prompt_class=prompt_class))
    async with contextlib.aclosing(pieces):
        async for _ in pieces:
            pass
