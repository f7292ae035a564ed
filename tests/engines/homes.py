"""A home for the runs of an LM worker: it follows their chunks, and goes on from what it has accepted."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.control import ControlLog
from alto_streams.models.protocol import Engine
from alto_streams.wire.records import Call, Chunk, Home, HomeRecord, Start, Status, Wire, Work, decoder
from alto_streams.wire.resume import rest_of

_decode: Callable[[bytes], Wire] = decoder(HomeRecord)  # type: ignore[arg-type]


@dataclass
class Answer:
    """What became of a call: its text, its tokens where all are known, and how many attempts it took."""

    text: str
    tokens: list[int] | None
    attempts: int
    cause: str | None = None


class Homes:
    """The log that an LM worker appends to, and what is decided by it."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], dict[str, list[Chunk]]] = defaultdict(lambda: defaultdict(list))
        self.starts = 0
        self.order = list[str]()  # of the calls that have text: their paths, as they began

    async def enqueue(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None
    ) -> asyncio.Future[Any]:
        record = _decode(value or b"")
        self.starts += isinstance(record, Start)
        if isinstance(record, Chunk):
            self._runs[record.path, record.attempt][record.run].append(record)
            if record.text and record.path not in self.order:
                self.order.append(record.path)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def delivered(self, delivery: asyncio.Future[Any], topic: str) -> Any:
        return await delivery

    def begun(self) -> int:
        """How many calls have text."""
        return len(self.order)

    def agent(self, engine: Engine) -> LMAgent:
        """An LM worker's agent that appends here."""

        def none() -> None:
            raise AssertionError("no consumer is needed")

        return LMAgent(engine, ControlLog(none, [], 600.0), self)

    async def answer(self, agent: LMAgent, call: Call, path: str) -> Answer:
        """Make one call to its end, each attempt from where the last one broke off."""
        work = Work("r", "answer", path, 1, Home("chunks.factcheck.answer", 0), "chat", call, flush="token")
        text, spent, tokens = "", 0, list[int]()
        is_told = True
        while True:
            await agent.handle(work, "factcheck")
            chunks = self._followed(path, work.attempt)
            text += "".join(chunk.text for chunk in chunks)
            spent += sum(chunk.count or 0 for chunk in chunks)
            is_told = is_told and all(chunk.tokens for chunk in chunks if chunk.text)
            tokens += [token for chunk in chunks for token in chunk.tokens or []]
            end = chunks[-1].end
            assert end is not None
            left = rest_of(call, None, text, spent)
            if end.status is Status.OK or end.reason != "error" or left is None:
                return Answer(text, tokens if is_told else None, work.attempt, end.cause)
            told = tokens if is_told and tokens else None
            work = msgspec.structs.replace(work, attempt=work.attempt + 1, call=left, prefix=text, prefix_tokens=told)

    def _followed(self, path: str, attempt: int) -> list[Chunk]:
        """The chunks of the one run that was begun: none is missing, doubled, or behind its end."""
        (chunks,) = self._runs[path, attempt].values()
        assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
        assert [chunk.end is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        return chunks
