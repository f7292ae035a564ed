"""Map functions: whatever one returns, its home hears of it."""

from __future__ import annotations

import asyncio

from alto_streams.agents.home.maps import MapRunner
from alto_streams.define.pipeline import Gather, Pipeline, Record
from alto_streams.errors import Poison
from alto_streams.wire.records import Result, Status


class Ask(Record):
    text: str


class Found(Record):
    text: str


class Page(Record):
    count: int


async def test_a_result_too_large_for_a_record_is_a_failed_leaf() -> None:
    pipeline = Pipeline("search", request=Ask)

    @pipeline.map()
    async def found(ask: Ask) -> list[Found]:
        return [Found("x" * 2_000), Found("y")]

    @pipeline.gather
    def page(all_found: Gather[Found]) -> Page:
        return Page(len(all_found))

    heard: asyncio.Queue[Result] = asyncio.Queue()

    async def append(partition: int, result: Result) -> None:
        if sum(len(bytes(child.value)) for child in result.children) > 1_000:
            raise Poison("a record is larger than a record may be")
        heard.put_nowait(result)

    assert pipeline.root == "page"
    maps = MapRunner(pipeline, "found", append, at_once=1)
    maps.start(0, "r", "0", 1, {"ask": Ask("x")})
    async with asyncio.timeout(60):
        result = await heard.get()
    assert (result.path, result.attempt, result.children) == ("0", 1, [])
    assert (result.status, result.cause) == (Status.FAILED, "found returned more than a record may hold")
    await maps.stop()
