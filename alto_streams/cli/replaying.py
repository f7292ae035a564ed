"""Sends recorded requests through gateways at their planned times, however the answers come: an open loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from alto_streams.cli.asking import Asked, follow
from alto_streams.client import Client
from alto_streams.errors import EventsLost, ProblemError, Retryable
from alto_streams.recordings.format import Recorded
from alto_streams.recordings.results import Ran
from alto_streams.recordings.spacing import Planned
from alto_streams.views.transcript import Transcript
from alto_streams.wire.records import Raw, Status

MOST_UNDER_WAY = 1_000  # as many streams as a gateway holds open; beyond it requests are late, which is reported


class Replaying:
    """One run. `ran` has each request that has ended, by id.

    `pipeline`: instead of the recorded one. `result_stage`: whose first item is timed. `with_deadlines`: each request
    gets as much time as it had.
    """

    def __init__(
        self,
        client: Client,
        pipeline: str | None = None,
        result_stage: str | None = None,
        with_deadlines: bool = True,
    ) -> None:
        self._client, self._pipeline = client, pipeline
        self._result_stage, self._with_deadlines = result_stage, with_deadlines
        self._slots = asyncio.Semaphore(MOST_UNDER_WAY)
        self.ran: dict[str, Ran] = {}

    async def run(self, planned: Sequence[Planned], on_done: Callable[[], None] = lambda: None) -> None:
        """Returns when all have ended. Cancelled, it cancels those under way, which are no part of `ran`.

        Raises:
            PartDown: no gateway answers, and none has answered yet.
            ProblemError: the gateway has no such pipeline.
        """
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for at_s, request in planned:
                await asyncio.sleep(max(0.0, began + at_s - time.monotonic()))
                await self._slots.acquire()
                group.create_task(self._one(began, at_s, request, on_done))

    async def _one(self, began: float, at_s: float, request: Recorded, on_done: Callable[[], None]) -> None:
        transcript = Transcript()
        late_s = time.monotonic() - began - at_s
        try:
            told = await self._followed(request, transcript)
        finally:
            self._slots.release()
        stage = self._result_stage
        items = [item.at_s for item in transcript.items.values() if item.stage == stage and item.value is not None]
        self.ran[request.id] = Ran(
            id=request.id,
            at_s=at_s,
            status=told[0],
            late_s=round(late_s, 6),
            ttft_s=_after(late_s, transcript.first_token_s),
            first_item_s=_after(late_s, min(items, default=None)),
            done_s=_after(late_s, transcript.done_s),
            cause=told[1],
            result=Raw(msgspec.json.encode(transcript.result)),
        )
        on_done()

    async def _followed(self, request: Recorded, transcript: Transcript) -> tuple[str, str | None]:
        """Its status and cause."""
        deadline = request.within_s if self._with_deadlines else None
        pipeline = self._pipeline or request.pipeline
        asked = Asked(pipeline, msgspec.json.decode(request.input), request.mode, deadline)
        try:
            await follow(self._client, asked, transcript)
        except ProblemError as refusal:
            if refusal.field == "pipeline" and not self.ran:
                raise
            return Status.FAILED, str(refusal)
        except EventsLost as lost:
            return Status.FAILED, str(lost)
        except Retryable as down:
            if not self.ran:
                raise
            return Status.FAILED, str(down)
        return transcript.status or Status.FAILED, transcript.cause


def _after(late_s: float, latency_s: float | None) -> float | None:
    return None if latency_s is None else round(late_s + latency_s, 6)
