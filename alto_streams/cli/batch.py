"""Many requests from a file, at most so many at once: reading the file, sending, and the line for each that is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from alto_streams.cli.asking import Asked, follow
from alto_streams.cli.factcheck_view import marks_of
from alto_streams.cli.summary import FACTCHECK
from alto_streams.client import Client
from alto_streams.errors import ConfigError, EventsLost, ProblemError, Retryable
from alto_streams.views.transcript import Transcript
from alto_streams.wire.records import Mode


class Row(msgspec.Struct, frozen=True):
    """One request of the file; other fields are ignored."""

    id: str
    prompt: str


class Outcome(msgspec.Struct, kw_only=True):
    """One line of the output. `timings`: `submitted_ms` since the epoch, the others in seconds since the submission.

    `early`: the request ended before all of its calls had; `claims` are those that were known by then.
    """

    id: str
    status: str
    answer: str
    claims: list[dict[str, Any]]
    timings: dict[str, float | None]
    cause: str | None = None
    early: bool = False


def read_rows(path: Path) -> list[Row]:
    """The requests of a JSONL file; empty lines are skipped.

    Raises:
        ConfigError: the file cannot be read, or a line is no request: names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"--input {path}: cannot be read: {why}") from None
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=Row)
        except msgspec.DecodeError as error:
            raise ConfigError(f"--input {path}, line {number}: {error}; expected id and prompt, both text") from None
        if not row.prompt.strip():
            raise ConfigError(f"--input {path}, line {number}: the prompt is empty")
        if row.id in seen:
            raise ConfigError(f"--input {path}, line {number}: id {row.id!r} stands in line {seen[row.id]} already")
        seen[row.id] = number
        rows.append(row)
    if not rows:
        raise ConfigError(f"--input {path}: it holds no request")
    return rows


class Batch:
    """Sends the rows and keeps what became of each.

    `rate`: requests a second, evenly spaced; None: as slots free. `more`: fields of every input beside the prompt.
    """

    def __init__(
        self,
        client: Client,
        pipeline: str,
        mode: Mode,
        at_once: int,
        rate: float | None,
        on_done: Callable[[], None],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._more = dict(more or {})
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
        begun = [self.outcomes[row.id] for row in rows if row.id in self.outcomes]
        return [msgspec.json.encode(outcome) for outcome in begun]

    async def _one(self, row: Row) -> None:
        transcript, submitted_ms = Transcript(), time.time() * 1000
        asked = Asked(self._pipeline, {"prompt": row.prompt} | self._more, self._mode)
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
            self.outcomes[row.id] = outcome_of(row.id, status, cause or None, transcript, submitted_ms, self._pipeline)
            self._on_done()


def outcome_of(
    row_id: str, status: str, cause: str | None, transcript: Transcript, submitted_ms: float, pipeline: str
) -> Outcome:
    """The line for one request; `claims` are those of the pipeline's result, if it gives some."""
    result = transcript.result if isinstance(transcript.result, dict) else {}
    timings: dict[str, float | None] = {"submitted_ms": round(submitted_ms)}
    marks = dict(marks_of(transcript)) if pipeline == FACTCHECK else {}
    marks |= {"accepted": transcript.accepted_s, "first token": transcript.first_token_s, "done": transcript.done_s}
    for name, at_s in marks.items():
        timings[f"{name.replace(' ', '_')}_s"] = None if at_s is None else round(at_s, 4)
    return Outcome(
        id=row_id,
        status=status,
        answer=transcript.text,
        claims=list(result.get("claims", [])),
        timings=timings,
        cause=cause,
        early=transcript.early,
    )
