"""The engines of a simulated world: they say what the script says, in pieces cut at random, and break off at times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from alto_streams.errors import EngineUnavailable
from alto_streams.models.protocol import Capabilities, Piece
from alto_streams.wire.records import Call

if TYPE_CHECKING:
    from tests.simulation.world import World

GRID = 6  # characters in a piece of an engine without token ids
SIZES = (1, 3, 8, 20, 50)


class SimulatedEngine:
    """Stands in front of the script of a world. With token ids, every character is a token."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.name = "simulated"
        self.capabilities = Capabilities(
            slots=world.slots, context_tokens=1 << 20, tokens=world.with_tokens, continues=True
        )

    async def ready(self) -> None:
        """At once, most of the time."""
        if self._world.strikes("engine away"):
            raise EngineUnavailable("the simulated engine is not ready")

    async def generate(
        self,
        call: Call,
        *,
        prefix: str = "",
        prefix_tokens: list[int] | None = None,
        prompt_class: str = "",
        by_line: bool = False,
        priority: int = 0,
    ) -> AsyncIterator[Piece]:
        """What the script still has to say behind the prefix."""
        world = self._world
        stage = world.pipeline.stages[prompt_class.partition(".")[2]]
        text = world.expect_call(stage.name, call, prefix, prefix_tokens)
        pieces = list(self._cut(text, len(prefix)))
        breaks_off = world.strikes("engine error")
        if breaks_off:
            pieces = pieces[: world.rng.randint(0, len(pieces))]
        # The last words and the end come together, or one after the other.
        last = pieces.pop() if pieces and not breaks_off and world.rng.random() < 0.5 else ""
        is_new = True
        for piece in pieces:
            # A slow engine pauses between chunks: what is not shown as text is published line by line.
            await asyncio.sleep(world.pace_s if is_new or stage.show == "text" else 0)
            is_new = piece.endswith("\n")
            yield Piece(piece, self._tokens(piece))
        await asyncio.sleep(world.pace_s if is_new else 0)
        if breaks_off:
            raise EngineUnavailable("the engine failed") if world.rng.random() < 0.5 else ValueError("an engine's bug")
        yield Piece(last, self._tokens(last), finish="stop")

    async def close(self) -> None:
        """There is nothing to close."""

    def _tokens(self, text: str) -> list[int] | None:
        return [ord(c) for c in text] if self._world.with_tokens else None

    def _cut(self, text: str, start: int) -> Iterator[str]:
        if not self._world.with_tokens:
            yield from grid(text[start:])
            return
        rng = self._world.rng
        for line in text[start:].splitlines(keepends=True):
            while line:
                n = rng.choice(SIZES)
                yield line[:n]
                line = line[n:]


def grid(text: str) -> Iterator[str]:
    """The pieces of an engine without token ids: the same wherever it begins, so that they can be counted."""
    for line in text.splitlines(keepends=True):
        for at in range(0, len(line), GRID):
            yield line[at : at + GRID]
