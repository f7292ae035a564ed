"""The shell around a stage's pure machine: one home record at a time becomes a row, then instructions, then an ack.

The order of work, for each batch of polled records of one partition:

1. the machine takes each record into its row, and says what to do;
2. the changed rows, with those instructions as their outbox, are written and acknowledged by the changelog;
3. the instructions are carried out and acknowledged;
4. the records are acknowledged.

A crash between two steps repeats what follows: a record at or below its row's offset is not applied again, but the
row's outbox is sent again, the same identities to the same partitions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from alto_streams.agents.batch import Batch, waves
from alto_streams.agents.insist import insist, insist_while
from alto_streams.agents.letters import letter_of
from alto_streams.agents.maps import MapRunner
from alto_streams.agents.ports import Polled, RowTable, SendAll
from alto_streams.agents.timers import Timers
from alto_streams.errors import Fenced
from alto_streams.pipeline import Pipeline
from alto_streams.records import Cancel, HomeRecord, Poison, Request, Result, Status, Timer, decoder, encode
from alto_streams.request_ids import created_ms
from alto_streams.sender import Out
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.markers import decode_stored, encode_stored
from alto_streams.tables.outputs import At
from alto_streams.tables.rows import Arm, Instruction, Row, Run, Send
from alto_streams.topic_names import home_topic, results_topic

log = logging.getLogger(__name__)

_decode: Callable[[bytes], HomeRecord] = decoder(HomeRecord)  # type: ignore[arg-type]

HELD_AGAIN_MS = 1_000


class StageAgent:
    """The home of one stage's calls, for the partitions that this worker owns."""

    def __init__(
        self,
        pipeline: Pipeline,
        stage: str,
        machine: StageMachine,
        rows: RowTable,
        send_all: SendAll,
        *,
        horizon_ms: int,
        maps_at_once: int,
    ) -> None:
        self._pipeline, self._stage, self._topic = pipeline.name, stage, home_topic(pipeline.name, stage)
        self._root_topic = home_topic(pipeline.name, pipeline.root)
        self._machine, self._rows, self._send_all, self._horizon_ms = machine, rows, send_all, horizon_ms
        self._live: dict[int, dict[str, Row]] = {}
        self._owned: set[int] = set()
        self._batches: dict[int, Batch] = {}  # in flight, one a partition
        self._timers = Timers(self._silent)
        self._maps = MapRunner(pipeline, stage, self._append, maps_at_once)

    async def handle(self, partition: int, polled: Sequence[Polled]) -> None:
        """Steps 1 to 3 for records of one partition, in log order; after it they may be acknowledged.

        Raises:
            Fenced: another worker may own the partition by now.
        """
        batch = self._batches[partition] = Batch()
        try:
            await self._work(partition, polled, batch)
        except BaseException as error:
            # What is in memory may be ahead of what is stored: the records come again, and start from the stored rows.
            for key in batch.decided:
                self._live.get(partition, {}).pop(key, None)
                self._machine.forget(key)
            if not isinstance(error, Poison):
                raise
            # A row, or what it asks for, is larger than a record may be: this costs its own request and no other.
            if len(polled) == 1:
                return await self._too_large(partition, polled[0], error)
            for each in polled:
                await self.handle(partition, [each])
        finally:
            self._batches.pop(partition, None)

    async def _work(self, partition: int, polled: Sequence[Polled], batch: Batch) -> None:
        poisoned = []
        for each in polled:  # without an await: the partition may be given up in one
            try:
                self._take(partition, each, batch)
            except Poison as error:
                poisoned.append((each, error))
        live = self._live.setdefault(partition, {})
        written = []
        for key, instructions in batch.decided.items():
            # An outbox that is yet to be sent again stays in the row until it is: this worker may die here as well.
            live[key].outbox = [*batch.again.get(key, []), *instructions]
            written.append((key, live[key].offset, encode_stored(live[key])))
        for each, cause in poisoned:  # before the rows, behind which they would not come again
            await self._dead_letter(partition, each, cause)
        if written:
            await insist(lambda: self._rows.put_many(partition, written))
        await self._carry_out(partition, [*batch.again.items(), *batch.decided.items()])
        await self._leave_markers(partition, {*batch.again, *batch.decided})

    async def take_over(self, partition: int, now_ms: int) -> None:
        """This worker owns the partition now and has its rows: set timers and map functions going again."""
        self._owned.add(partition)
        self._live[partition] = {}
        for key, _ in list(self._rows.items(partition)):
            row = self._row(partition, key)
            resumed = self._machine.resume(row, At(self._topic, partition, row.offset, now_ms))
            await self._carry_out(partition, [(key, resumed)])
            if row.finished is not None:
                self._live[partition].pop(key, None)

    def give_up(self, partition: int) -> None:
        """The partition has another owner: stop what was going on for it."""
        self._owned.discard(partition)
        for key in self._live.pop(partition, {}):
            self._machine.forget(key)
        self._timers.drop(partition)
        self._maps.drop(partition)

    async def sweep(self, now_ms: int) -> int:
        """Delete what is left of requests older than the horizon, but for rows in hand. Returns how many."""
        dropped = 0
        for partition, live in list(self._live.items()):
            batch = self._batches.get(partition, Batch())
            try:
                stored = [key for key, _ in self._rows.items(partition)]
            except Fenced:
                continue  # what a batch has left in memory of a lost partition must not keep the others unswept
            # A record that changed nothing leaves a row in memory that was never stored.
            past = {key for key in (*stored, *live) if created_ms(key) + self._horizon_ms < now_ms}
            past = {key for key in past if not batch.has_in_hand(key)}
            old = [key for key in stored if key in past]
            for key in past:
                live.pop(key, None)
                self._machine.forget(key)
                self._timers.forget(partition, key)
            if old:
                await self._rows.put_many(partition, [(key, 0, None) for key in old])
            dropped += len(old)
        return dropped

    async def stop(self) -> None:
        """Stop timers and map functions."""
        for partition in list(self._live):
            self.give_up(partition)
        await self._maps.stop()

    def _take(self, partition: int, polled: Polled, batch: Batch) -> None:
        record = _decode(polled.value)
        key = record.id if isinstance(record, Request) else record.request
        live = self._live.setdefault(partition, {})
        is_known = key in live or self._rows.get(partition, key) is not None
        if not is_known and created_ms(key) + self._horizon_ms < polled.at_ms:
            return  # its marker is gone by now: nothing rises from the dead
        row = self._row(partition, key)
        if polled.offset <= row.offset:
            if key not in batch.decided:
                batch.again[key] = row.outbox
            return
        at = At(self._topic, partition, polled.offset, polled.at_ms)
        try:
            decided = self._machine.apply(row, record, at)
        except Exception as error:
            self._undo(partition, key, batch)
            if isinstance(error, Poison):
                raise
            log.exception("%s: request %s at %s-%d@%d", self._stage, key, self._topic, partition, polled.offset)
            raise Poison(f"{self._stage}: {type(error).__name__} while it was applied") from error
        if row.offset != at.offset:  # it changed nothing
            if row.finished is not None and key not in batch.decided and key not in batch.again:
                del live[key]
            return
        batch.applied.setdefault(key, []).append((record, at))
        batch.decided.setdefault(key, []).extend(decided)

    def _undo(self, partition: int, key: str, batch: Batch) -> None:
        """A record has left a row half changed: rebuild the row from the stored one and the batch's good records."""
        self._live[partition].pop(key, None)
        self._machine.forget(key)
        row = self._row(partition, key)
        for record, at in batch.applied.get(key, []):
            self._machine.apply(row, record, at)

    def _row(self, partition: int, key: str) -> Row:
        live = self._live.setdefault(partition, {})
        row = live.get(key)
        if row is None:
            stored = self._rows.get(partition, key)
            row = live[key] = Row() if stored is None else decode_stored(stored.value, stored.offset)
        return row

    async def _carry_out(self, partition: int, decided: Iterable[tuple[str, list[Instruction]]]) -> None:
        sends: list[Send] = []
        for key, instructions in decided:
            for instruction in instructions:
                match instruction:
                    case Send():
                        sends.append(instruction)
                    case Run(path, attempt):
                        self._run(partition, key, path, attempt)
                    case Arm(path, attempt, mark, at_ms, due):
                        self._timers.arm(partition, Timer(key, path, attempt, mark, due), at_ms)
        for wave in waves(sends, results_topic(self._pipeline)):
            await insist(partial(self._send_all, wave))

    def _run(self, partition: int, key: str, path: str, attempt: int) -> None:
        row = self._row(partition, key)
        call = row.calls.get(path)
        if call is not None and not call.closed and call.attempt == attempt:
            self._maps.start(partition, key, path, attempt, self._machine.arguments(row, path))

    async def _leave_markers(self, partition: int, keys: set[str]) -> None:
        """Rows of finished requests whose outbox is out shrink to their markers."""
        live, markers = self._live.get(partition, {}), []
        for key in keys:
            row = live.get(key)
            if row is None or row.finished is None:
                continue  # not in memory: the partition was given up meanwhile
            self._timers.forget(partition, key)
            if row.outbox:
                row.outbox = []
                markers.append((key, row.offset, encode_stored(row)))
            del live[key]
        if markers:
            await insist(lambda: self._rows.put_many(partition, markers))

    async def _silent(self, partition: int, timer: Timer) -> None:
        """A timer has fired: it takes effect only as a record read back from the home, and not at all if it is void."""
        if self._maps.holds(partition, timer.request, timer.path, timer.attempt):
            # It waits for its turn, or runs within its own timeout: only a run that was lost is silent.
            self._timers.arm(partition, timer, int(time.time() * 1000) + HELD_AGAIN_MS)
            return
        row = self._live.get(partition, {}).get(timer.request)
        if row is None:  # after a batch that failed, until its records come again
            try:
                stored = self._rows.get(partition, timer.request)
            except Fenced:  # in the middle of a rebalance: whoever keeps a partition arms no timer anew
                if partition in self._owned:
                    self._timers.arm(partition, timer, int(time.time() * 1000) + HELD_AGAIN_MS)
                return
            row = None if stored is None else decode_stored(stored.value, stored.offset)
        if row is None or row.finished is not None:
            return
        call = row.calls.get(timer.path)
        if timer.attempt == 0 or (call is not None and (timer.due or call.mark == timer.mark)):
            await self._append(partition, timer)

    async def _append(self, partition: int, record: Timer | Result) -> None:
        out = Out(self._topic, record.request.encode(), encode(record), partition)
        await insist_while(lambda: partition in self._owned, partial(self._send_all, [out]))

    async def _too_large(self, partition: int, polled: Polled, error: Poison) -> None:
        record = _decode(polled.value)
        request = record.id if isinstance(record, Request) else record.request
        log.warning("%s: request %s fails: %s", self._stage, request, error)
        cause = f"{self._stage}: what it keeps or sends for this request is larger than a record may be"
        told = letter_of(self._pipeline, self._stage, self._topic, polled, cause, carried=False)
        end = Out(self._root_topic, request.encode(), encode(Cancel(request, "", Status.FAILED, cause)))
        await insist(lambda: self._send_all([told, end]))

    async def _dead_letter(self, partition: int, polled: Polled, error: Poison) -> None:
        log.warning("%s: dead letter from %s-%d@%d: %s", self._stage, self._topic, partition, polled.offset, error)
        letter = letter_of(self._pipeline, self._stage, self._topic, polled, str(error))
        await insist(lambda: self._send_all([letter]))
