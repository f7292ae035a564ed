"""An aborted call ends soon in the local engine even while it reads its prompt (while it writes: `tests/engines`)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.control import ControlLog
from alto_streams.models.openai import OpenAIEngine
from alto_streams.wire.records import Call, Ended, Home, Message, Work
from tests.unit.test_lm_agent import Log

TRIES = 20  # other programs share the machine


class Slots:
    """The engine's own word on what its slots do."""

    def __init__(self, client: httpx.AsyncClient, address: str) -> None:
        self._client, self._url = client, address.removesuffix("/v1") + "/slots"

    async def busy(self) -> bool:
        return any(slot["is_processing"] for slot in await self._asked())

    async def read(self) -> int:
        """How many tokens of its prompt the latest call has in the engine."""
        latest = max(await self._asked(), key=lambda slot: slot.get("id_task", -1))
        return int(latest.get("n_prompt_tokens", 0))

    async def _asked(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._client.get(self._url)).json()
        return found


@pytest.fixture
async def slots(local_address: str) -> AsyncIterator[Slots]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield Slots(client, local_address)


def ask(text: str) -> Work:
    call = Call(messages=[Message("user", text)], max_tokens=1000)
    return Work("r", "answer", "0", 1, Home("chunks.factcheck.answer", 0), "chat", call, flush="token")


async def aborted(served: OpenAIEngine, work: Work, slots: Slots) -> None:
    """Abort a call as soon as the engine has begun it."""

    def none() -> None:
        raise AssertionError("no consumer is needed")

    control = ControlLog(none, [], 600.0)  # type: ignore[arg-type]
    agent = LMAgent(served, control, Log())
    run = asyncio.create_task(agent.handle(work, "factcheck"))
    async with asyncio.timeout(60):
        while not await slots.busy():  # noqa: ASYNC110 - the engine is another process
            await asyncio.sleep(0.001)
        agent.on_over(Ended("r", "answer", "0", 1))
        await run
        while await slots.busy():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_prompt_is_not_read_to_its_end(served: OpenAIEngine, slots: Slots) -> None:
    read: list[int] = []
    while len(read) < TRIES and min(read, default=900) >= 900:
        await aborted(served, ask(" ".join(uuid.uuid4().hex[:4] for _ in range(400))), slots)
        read.append(await slots.read())
    assert 0 < min(read) < 900, f"read {read} of some 1,400, in steps of 264"
