"""The control log: read to its end before the first work item, and never given up."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from alto_streams.agents.lm.control import ControlLog
from alto_streams.wire.paths import covers
from alto_streams.wire.records import Call, Cancelled, ControlRecord, Ended, Home, Work, encode


class Consumer:
    """A consumer of one partition; one that is `broken` can neither be read nor stopped, or breaks off at its end."""

    def __init__(
        self, values: list[bytes], is_broken: bool, at_ms: int = 4_102_444_800_000, breaks: bool = False
    ) -> None:
        self._values, self._is_broken, self._position = values, is_broken, 0
        self._at_ms, self._breaks = at_ms, breaks

    async def start(self) -> None:
        if self._is_broken:
            raise LookupError("no such thing")

    async def stop(self) -> None:
        if self._is_broken:
            raise KafkaError

    async def places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, 0)]

    async def beginning_offsets(self, tps: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(tps, 0)

    def assign(self, tps: list[Any]) -> None: ...

    def seek(self, tp: Any, offset: int) -> None: ...

    async def end_offsets(self, tps: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(tps, len(self._values))

    async def position(self, tp: Any) -> int:
        return self._position

    async def getmany(self, timeout_ms: int) -> dict[Any, list[Any]]:
        if self._position == len(self._values):
            if self._breaks:
                raise KafkaError
            await asyncio.Event().wait()
        self._position += 1
        record = SimpleNamespace(value=self._values[self._position - 1], timestamp=self._at_ms)
        return {0: [record]}


def work(request: str, attempt: int) -> Work:
    return Work(request, "claims", "0/1", attempt, Home("chunks.factcheck.claims", 0), "judge", Call([], 10))


async def test_it_is_read_to_its_end_whatever_happens_to_its_consumer() -> None:
    values = [encode(Ended("a", "claims", "0/1", 1)), encode(Cancelled("b", "0"))]
    values += [
        encode(Cancelled("d", "0", ["claims"])),
        encode(Cancelled("e", "0", ["verdict"])),
        encode(Cancelled("f", "1")),
    ]
    consumers = [Consumer(values, False), Consumer(values, True)]
    control = ControlLog(lambda: consumers.pop(), ["control.factcheck"], 600.0)
    async with asyncio.timeout(60):
        await control.start()
    assert control.is_over(work("a", 1))
    assert not control.is_over(work("a", 2))
    assert control.is_over(work("b", 7))
    assert control.is_over(work("d", 1))
    assert not control.is_over(work("c", 1))
    assert not control.is_over(work("e", 1))
    assert not control.is_over(work("f", 1))
    await control.stop()


@pytest.mark.parametrize(
    ("record", "over"),
    [
        (Ended("a", "claims", "0/1", 2), True),
        (Ended("a", "claims", "0/1", 1), False),
        (Ended("a", "queries", "0/1", 2), False),
        (Ended("a", "claims", "0", 2), False),
        (Cancelled("a", ""), True),
        (Cancelled("b", ""), False),
        (Cancelled("a", "0"), True),
        (Cancelled("a", "0/1", ["claims", "verdict"]), True),
        (Cancelled("a", "0/1", ["verdict"]), False),
        (Cancelled("a", "0/10", ["claims"]), False),
    ],
)
def test_what_a_record_ends(record: ControlRecord, over: bool) -> None:
    assert covers(record, "a", "claims", "0/1", 2) is over


async def test_it_remembers_what_it_has_heard_once_and_not_for_longer_than_it_must() -> None:
    values = [encode(Ended("a", "claims", "0/1", 1)), encode(Cancelled("b", "0")), encode(Cancelled("b", ""))]
    now_ms = int(time.time() * 1000)
    consumers = [Consumer(values, False, now_ms), Consumer(values, False, now_ms, breaks=True)]
    control, heard = ControlLog(lambda: consumers.pop(), ["control.factcheck"], 600.0), asyncio.Semaphore(0)
    control.listen(lambda record: heard.release())
    await control.start()
    async with asyncio.timeout(60):
        for _ in range(2 * len(values)):  # the second consumer reads all of it again
            await heard.acquire()
    assert len(control) == len(values)
    control._keep_s = -60.0
    control._forget_old()
    assert len(control) == 0
    assert (control._ended, control._cancelled) == ({}, {})
    assert not control.is_over(work("a", 1))
    await control.stop()
