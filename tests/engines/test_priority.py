"""Where vLLM in the worker has more calls than it can run, the one with the least slack is begun first."""

from __future__ import annotations

import asyncio
import time

from alto_streams.models.vllm import VllmEngine
from alto_streams.wire.plans import Receipt
from alto_streams.wire.records import Call, Ended, Home, Message, Work
from tests.engines.homes import Homes
from tests.unit.engine_servers import until

# Seconds until a call has to begin, in the order in which they come. Below 0 it is hopeless: it goes behind those that
# can still be in time, before it has waited for half a minute.
SLACK_S = (600.0, 300.0, -5.0, 10.0)
FULL_S = 120.0


def work(path: str, tokens: int, slack_s: float | None) -> Work:
    """One call, dispatched with so much slack."""
    latest_ms = None if slack_s is None else round(1000 * (time.time() + slack_s))
    call = Call([Message("user", f"Tell a long story about {path} foxes.")], tokens)
    home = Home("chunks.factcheck.answer", 0)
    return Work(
        "r", "answer", path, 1, home, "chat", call, flush="token", receipt=Receipt("p", "", latest_ms=latest_ms)
    )


async def _waits(engine: VllmEngine, calls: int) -> int:
    """Returns how many calls run in the engine once so many wait there."""
    async with asyncio.timeout(FULL_S):
        while (load := await engine.load()) is None or load.waiting != calls:  # noqa: ASYNC110 - the engine's process
            await asyncio.sleep(0.01)
    return load.running


async def test_the_call_with_the_least_slack_is_begun_first(within: VllmEngine) -> None:
    """Of those that wait in the engine itself: from the worker's agent to vLLM's scheduler."""
    homes, slots = Homes(), within.capabilities.slots
    agent = homes.agent(within)

    def begin(path: str, tokens: int, slack_s: float | None) -> asyncio.Task[None]:
        return asyncio.create_task(agent.handle(work(path, tokens, slack_s), "factcheck"))

    running = [begin(f"{number}", 1500, None) for number in range(slots)]
    await until(lambda: homes.begun() == slots, "the engine is full", FULL_S)
    waiting = list[asyncio.Task[None]]()
    for number, slack_s in enumerate(SLACK_S, 1):
        waiting.append(begin(f"late {slack_s:g}", 2, slack_s))
        assert await _waits(within, number) == slots
    assert homes.begun() == slots
    agent.on_over(Ended("r", "answer", "0", 1))  # one place becomes free, for one after the other
    async with asyncio.timeout(FULL_S):
        await asyncio.gather(*waiting)
    assert not any(task.done() for task in running[1:])  # there was never another place
    for number in range(1, slots):
        agent.on_over(Ended("r", "answer", f"{number}", 1))
    await asyncio.gather(*running)
    assert homes.order[slots:] == [f"late {slack_s:g}" for slack_s in (10.0, -5.0, 300.0, 600.0)]
