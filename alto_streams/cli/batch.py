"""Many requests, at most so many at once: sending them, and the line for each that is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from alto_streams.cli.asking import Asked, follow
from alto_streams.cli.rows import Row
from alto_streams.client import Client
from alto_streams.errors import EventsLost, ProblemError, Retryable
from alto_streams.views import Transcript, View
from alto_streams.wire.records import Mode


class Outcome(msgspec.Struct, kw_only=True):
    """One line of the output. `timings`: `submitted_ms` since the epoch, the others in seconds since the submission.

    `request`: the id that it had at the gateway. `early`: the request ended before all of its calls had.
    `columns`: what the pipeline's view adds to the line.
    """

    id: str
    request: str | None
    status: str
    result: Any
    timings: dict[str, float | None]
    cause: str | None = None
    early: bool = False
    columns: dict[str, Any] = {}

    def line(self) -> bytes:
        """As it is written: the view's columns stand beside the others, and never in place of one."""
        own = msgspec.to_builtins(self)
        del own["columns"]
        return msgspec.json.encode({**own, **{name: each for name, each in self.columns.items() if name not in own}})


class Batch:
    """Sends the rows and keeps what became of each.

    `rate`: requests a second, evenly spaced; None: as slots free. `more`: fields that every input gets besides.
    """

    def __init__(
        self,
        client: Client,
        pipeline: str,
        view: View,
        mode: Mode,
        at_once: int,
        rate: float | None,
        on_done: Callable[[], None],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._more, self._view = dict(more or {}), view
        self._client, self._pipeline, self._mode, self._rate, self._on_done = client, pipeline, mode, rate, on_done
        self._slots = asyncio.Semaphore(at_once)
        self.outcomes: dict[str, Outcome] = {}

    async def run(self, rows: Sequence[Row]) -> None:
        """Returns when all have ended. Cancelled, it cancels those that are under way and keeps what they had.

        Raises:
            PartDown: no gateway answers.
        """
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, row in enumerate(rows):
                if self._rate is not None:
                    await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
                await self._slots.acquire()
                group.create_task(self._one(row))

    def lines(self, rows: Sequence[Row]) -> list[bytes]:
        """One JSON line for each row that was begun, in the order of the input."""
        return [self.outcomes[row.id].line() for row in rows if row.id in self.outcomes]

    async def _one(self, row: Row) -> None:
        transcript, submitted_ms = Transcript(), time.time() * 1000
        asked = Asked(self._pipeline, row.input | self._more, self._mode)
        status, cause = "cancelled", "interrupted"
        try:
            await follow(self._client, asked, transcript)
            status, cause = transcript.status or "failed", transcript.cause or ""
        except (ProblemError, EventsLost, Retryable) as error:
            status, cause = "failed", str(error)
            if isinstance(error, Retryable):
                raise
        finally:
            self._slots.release()
            self.outcomes[row.id] = outcome_of(row.id, status, cause or None, transcript, submitted_ms, self._view)
            self._on_done()


def outcome_of(
    row_id: str, status: str, cause: str | None, transcript: Transcript, submitted_ms: float, view: View
) -> Outcome:
    """The line for one request."""
    timings: dict[str, float | None] = {"submitted_ms": round(submitted_ms)}
    marks = dict(view.marks(transcript))
    marks |= {"accepted": transcript.accepted_s, "first token": transcript.first_token_s, "done": transcript.done_s}
    for name, at_s in marks.items():
        timings[f"{name.replace(' ', '_')}_s"] = None if at_s is None else round(at_s, 4)
    return Outcome(
        id=row_id,
        request=transcript.request,
        status=status,
        result=transcript.result,
        timings=timings,
        cause=cause,
        early=transcript.early,
        columns=view.columns(transcript),
    )
