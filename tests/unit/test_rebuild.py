"""What a Redis that lost everything is given back where `results` does not hold it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from alto_streams.agents.egress import reread
from alto_streams.agents.egress.agent import Egress
from alto_streams.agents.egress.publisher import PublishedEvent
from alto_streams.settings import Settings


async def test_a_stretch_past_its_retention_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Consumer:
        def __init__(self, **_: Any) -> None: ...

        async def start(self) -> None: ...

        def assign(self, places: object) -> None: ...

        async def beginning_offsets(self, places: Sequence[Any]) -> dict[Any, int]:
            return dict.fromkeys(places, 500)

        def seek(self, *_: object) -> None: ...

        async def stop(self) -> None:
            await asyncio.sleep(0)

    monkeypatch.setattr(reread, "LogConsumer", Consumer)
    async with asyncio.timeout(60):
        assert [each async for each in reread.ResultsReplay(Settings(), "factcheck")(0, 0, 500)] == []


async def test_what_is_gone_is_missed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    published, rebuilt = [-1], []

    async def nothing(partition: int, start: int, stop: int) -> AsyncIterator[Sequence[PublishedEvent]]:
        rebuilt.append((start, stop))
        for none in ():
            yield none

    async def put(partition: int, records: Sequence[PublishedEvent], last: int, floor: int) -> tuple[bool, int]:
        if published[0] < floor:
            return False, published[0]
        published[0] = max(published[0], last)
        return True, 0

    egress = Egress(None, "factcheck", nothing, Settings())  # type: ignore[arg-type]
    monkeypatch.setattr(egress._publisher, "put", put)
    for _ in range(5):
        await egress.check({0: 500})
    assert rebuilt == [(0, 500)]
