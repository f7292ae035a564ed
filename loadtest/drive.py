"""An open load of the reference workload on a running system, each request followed to its last event by a client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from alto_streams.client import Client, ClientEvent
from alto_streams.errors import EventsLost, PartDown, ProblemError
from alto_streams.wire.records import EventKind, Mode
from loadtest.reference.workload import ReferenceRequest, arrivals
from loadtest.samples import Sample

PIPELINE = "reference"
ENDED_S = 300.0  # a request that has not ended by then counts as an error


async def offer(
    gateway: str, requests: Sequence[ReferenceRequest], rate: float, count: int, seed: int, mode: Mode = Mode.STREAM
) -> list[Sample]:
    """`count` requests at seeded Poisson instants, `rate` a second, whatever becomes of those before; in order."""
    loop, samples = asyncio.get_running_loop(), list[Sample]()
    began = loop.time()
    async with Client([gateway]) as client, asyncio.TaskGroup() as group:
        for at_s, request in arrivals(list(requests), rate, count, seed):
            await asyncio.sleep(began + at_s - loop.time())
            sample = Sample(request.id, at_s, late_s=loop.time() - began - at_s)
            samples.append(sample)
            group.create_task(_follow(client, request, sample, began + at_s, mode))
    return samples


async def in_flight(
    gateway: str, requests: Sequence[ReferenceRequest], at_once: int, count: int, seed: int
) -> list[Sample]:
    """`count` requests, always `at_once` of them under way; latencies count from when each was sent."""
    loop, rng = asyncio.get_running_loop(), random.Random(seed)
    began, left = loop.time(), [rng.choice(requests) for _ in range(count)]
    samples = list[Sample]()

    async def one_after_another(client: Client) -> None:
        while left:
            request = left.pop()
            sample = Sample(request.id, loop.time() - began)
            samples.append(sample)
            await _follow(client, request, sample, loop.time(), Mode.STREAM)

    async with Client([gateway]) as client, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another(client))
    return samples


async def _follow(client: Client, request: ReferenceRequest, sample: Sample, due: float, mode: Mode) -> None:
    loop, heard = asyncio.get_running_loop(), _Heard(request, sample)
    try:
        async with asyncio.timeout(ENDED_S):
            name = await client.submit(PIPELINE, {"prompt": request.prompt}, mode)
            async for event in client.events(name):
                heard.take(event, loop.time() - due)
    except (ProblemError, EventsLost, PartDown, TimeoutError) as error:
        sample.error = f"{type(error).__name__}: {error}"
    heard.settle()


class _Heard:
    """What a client has heard of one request, checked against what was recorded."""

    def __init__(self, request: ReferenceRequest, sample: Sample) -> None:
        self._expected = [claim.label for claim in request.claims]
        self._sample = sample
        self._verdicts: dict[str, Any] = {}

    def take(self, event: ClientEvent, after_s: float) -> None:
        sample = self._sample
        match event.kind:
            case EventKind.CHUNK if sample.ttft_s is None:
                sample.ttft_s = after_s
            case EventKind.ITEM if event.stage == "verdict":
                if sample.first_verdict_s is None:
                    sample.first_verdict_s = after_s
                sample.last_verdict_s = after_s
                sample.repeated += event.path in self._verdicts
                self._verdicts[event.path] = event.body["value"]["label"]
            case EventKind.DONE:
                sample.done_s = after_s
                if event.body["status"] != "ok" or event.body["result"]["labels"] != self._expected:
                    sample.error = f"it ended {event.body['status']}: {event.body.get('cause', 'with other labels')}"

    def settle(self) -> None:
        """Count what is missing or wrong: items stand in the order of their paths."""
        order = sorted(self._verdicts, key=lambda path: [int(level.partition("~")[0]) for level in path.split("/")])
        told = [self._verdicts[path] for path in order]
        self._sample.missing = max(0, len(self._expected) - len(told))
        if not self._sample.missing:
            self._sample.wrong = sum(a != b for a, b in zip(told, self._expected, strict=False))
