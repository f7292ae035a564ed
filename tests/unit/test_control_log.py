"""The control log: read to its end before the first work item, and never given up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaError

from alto_streams.agents.control import ControlLog
from alto_streams.records import Call, Cancelled, Ended, Home, Work, encode


class Consumer:
    """A consumer of one partition; one that is `broken` can neither be read nor stopped."""

    def __init__(self, values: list[bytes], is_broken: bool) -> None:
        self._values, self._is_broken, self._position = values, is_broken, 0

    async def start(self) -> None:
        if self._is_broken:
            raise LookupError("no such thing")

    async def stop(self) -> None:
        if self._is_broken:
            raise KafkaError

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0}

    def assign(self, tps: list[Any]) -> None: ...

    async def seek_to_beginning(self, *tps: Any) -> None: ...

    async def end_offsets(self, tps: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(tps, len(self._values))

    async def position(self, tp: Any) -> int:
        return self._position

    async def getmany(self, timeout_ms: int) -> dict[Any, list[Any]]:
        if self._position == len(self._values):
            await asyncio.Event().wait()
        self._position += 1
        record = SimpleNamespace(value=self._values[self._position - 1], timestamp=4_102_444_800_000)
        return {0: [record]}


def work(request: str, attempt: int) -> Work:
    return Work(request, "claims", "0/1", attempt, Home("chunks.factcheck.claims", 0), "judge", Call([], 10))


async def test_it_is_read_to_its_end_whatever_happens_to_its_consumer() -> None:
    values = [encode(Ended("a", "claims", "0/1", 1)), encode(Cancelled("b", "0"))]
    consumers = [Consumer(values, False), Consumer(values, True)]
    control = ControlLog(lambda: consumers.pop(), ["control.factcheck"], 600.0)
    async with asyncio.timeout(5.0):
        await control.start()
    assert control.is_over(work("a", 1))
    assert not control.is_over(work("a", 2))
    assert control.is_over(work("b", 7))
    assert not control.is_over(work("c", 1))
    await control.stop()
