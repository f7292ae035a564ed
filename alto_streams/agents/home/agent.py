"""The shell around a stage's pure machine: one home record at a time becomes a row, then instructions, then an ack.

The order of work, for each batch of polled records of one partition:

1. the machine takes each record into its row, in memory, and says what to do;
2. the instructions are carried out and acknowledged by the log;
3. the records are acknowledged; but no offset is committed from the first record on that a row in the changelog lacks;
4. about once a second the changed rows are written together (`working_rows`, `row_saver`).

A crash makes the records since then come again: they are applied again to the rows as they are stored, and ask for the
same again under the same identities. So what a stage's functions say must follow from their inputs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from alto_streams.agents.home.decision_log import DecisionLog
from alto_streams.agents.home.horizon import Horizon
from alto_streams.agents.home.maps import MapRunner
from alto_streams.agents.home.protocols import Polled, RowTable, SendAll
from alto_streams.agents.home.row_saver import RowSaver
from alto_streams.agents.home.send_order import in_order
from alto_streams.agents.home.timers import Timers
from alto_streams.agents.home.working_rows import WorkingRows
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import Fenced, Poison, Retryable
from alto_streams.log.letters import letter_of
from alto_streams.log.sender import Out
from alto_streams.retry import insist, insist_while
from alto_streams.tables.decisions import Cause
from alto_streams.tables.instructions import HELD_AGAIN_MS, is_open, request_of, takes_effect
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.markers import is_marker
from alto_streams.tables.requests import OVERDUE
from alto_streams.tables.rows import Arm, Instruction, Run, Send
from alto_streams.tables.turns import At
from alto_streams.wire.records import Cancel, Chunk, HomeRecord, Result, Status, Timer, decoder, encode
from alto_streams.wire.topic_names import home_topic, results_topic
from alto_streams.worker.pump import Polled as PolledAt

log = logging.getLogger(__name__)

_decode: Callable[[bytes], HomeRecord] = decoder(HomeRecord)  # type: ignore[arg-type]

MOST_AHEAD = 4_096  # changes by which the rows of a partition may be ahead of the changelog

Decided = dict[str, list[Instruction]]
"""By row: what it asks for."""


class StageAgent:
    """The home of one stage's calls, for the partitions that this worker owns.

    `on_over` hears of each request that is over here, and how it ended; it may hear so again.
    """

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
        with_values: bool = False,
        on_over: Callable[[str, Status], None] = lambda request, status: None,
        decisions: DecisionLog | None = None,
    ) -> None:
        self._pipeline, self._stage, self._topic = pipeline.name, stage, home_topic(pipeline.name, stage)
        self._root_topic = home_topic(pipeline.name, pipeline.root)
        self._machine, self._table, self._send_all = machine, rows, send_all
        self._horizon = Horizon(horizon_ms, is_root=stage == pipeline.root)
        self._on_over, self._decisions = on_over, decisions or DecisionLog(f"{pipeline.name}.{stage}")
        self._rows = WorkingRows(machine, rows)
        self._in_hand: dict[int, Decided] = {}  # by a batch in flight, one a partition
        self._saver = RowSaver(
            self._rows, rows, lambda partition: self._in_hand.get(partition, ()), self._row_too_large
        )
        self._timers = Timers(self._silent)
        self._maps = MapRunner(pipeline, stage, self._append, maps_at_once, with_values=with_values)

    async def handle(self, partition: int, polled: Sequence[Polled]) -> None:
        """Steps 1 and 2 for records of one partition, in log order; after it they may be acknowledged.

        Raises:
            Fenced: another worker may own the partition by now.
        """
        if self._rows.ahead(partition) > MOST_AHEAD:  # nothing is in hand here: all of them can be stored
            await insist(partial(self._saver.save, partition))
        generation = self._table.generation
        decided = self._in_hand[partition] = {}
        try:
            await self._work(partition, polled, decided)
        except BaseException as error:
            # Not all that they ask for may be in the log: they come again, to the rows as they were before them.
            for key in decided:
                self._rows.undo(partition, key, polled[0].offset)
            if not isinstance(error, Poison):
                raise
            if generation != self._table.generation:  # what comes again would come behind them
                raise Fenced(f"{self._topic}-{partition}: its owner may have changed") from error
            await self._handle_singly(partition, polled, error)
        finally:
            self._in_hand.pop(partition, None)
        self._saver.changed(partition)

    async def _handle_singly(self, partition: int, polled: Sequence[Polled], error: Poison) -> None:
        """What a row asks for is larger than a record may be: this costs its own request and no other."""
        if len(polled) > 1:
            for each in polled:
                await self.handle(partition, [each])
        else:
            record = _decode(polled[0].value)
            await self._too_large(request_of(record), polled[0], error)

    async def _work(self, partition: int, polled: Sequence[Polled], decided: Decided) -> None:
        poisoned = []
        self._table.check(partition)
        for each in polled:  # without an await: the partition may be given up in one
            try:
                self._take(partition, each, decided)
            except Poison as error:
                poisoned.append((each, error))
        for each, cause in poisoned:
            await self._dead_letter(partition, each, cause)
        await self._carry_out(partition, list(decided.items()))

    def held(self, partition: int) -> int | None:
        """The lowest offset of this stage's home that may not be committed yet, if there is one."""
        return self._rows.held(partition)

    async def save(self) -> None:
        """Write every changed row now: before partitions are given up, so that nothing of them is done again."""
        for partition in self._rows.partitions:
            with contextlib.suppress(Fenced, Retryable):
                await self._saver.save(partition)

    async def take_over(self, partition: int, now_ms: int) -> None:
        """This worker owns the partition now and has its rows: set timers and map functions going again."""
        self._rows.own(partition)
        self._horizon.own(partition, now_ms)
        for key, _ in list(self._table.items(partition)):
            row = self._rows.row(partition, key)
            resumed = self._machine.resume(row, key, At(self._topic, partition, row.offset, now_ms))
            await self._carry_out(partition, [(key, resumed.asked)])
            if row.finished is not None:
                self._rows.drop(partition, key)

    def give_up(self, partition: int) -> None:
        """The partition has another owner: stop what was going on for it."""
        self._rows.disown(partition)
        self._horizon.disown(partition)
        self._saver.drop(partition)
        self._timers.drop(partition)
        self._maps.drop(partition)

    async def sweep(self, now_ms: int) -> int:
        """Delete what is left of requests older than the horizon, but for rows in hand. Returns how many.

        What has not ended is ended first: its worker may have been away until now.
        """
        dropped, is_past = 0, self._horizon.is_past
        for partition in self._rows.partitions:
            try:
                stored = [key for key, _ in self._table.items(partition)]
                # A record that changed nothing leaves a row in memory that was never stored.
                past = {key for key in (*stored, *self._rows.keys(partition)) if is_past(partition, key, now_ms)}
                past -= self._in_hand.get(partition, {}).keys()
                owed = sorted(key for key in past if self._is_owed_an_end(partition, key))
            except Fenced:
                continue  # what a batch has left in memory of a lost partition must not keep the others unswept
            past.difference_update(owed)
            for key in past:  # without an await since it was looked at: a record may change what it is owed
                self._rows.forget(partition, key)
                self._timers.forget(partition, key)
                self._horizon.forget(partition, key)
            if old := [key for key in stored if key in past]:
                await self._table.put_many(partition, [(key, 0, None) for key in old])
            dropped += len(old)
            if owed:
                await self._append(partition, *(Cancel(key, "", Status.FAILED, OVERDUE) for key in owed))
        return dropped

    def _is_owed_an_end(self, partition: int, key: str) -> bool:
        stored = self._table.get(partition, key)
        if stored is not None and is_marker(stored.value):
            return False
        return self._machine.is_owed_an_end(self._rows.row(partition, key))

    async def stop(self) -> None:
        """Stop timers and map functions."""
        for partition in self._rows.partitions:
            self.give_up(partition)
        await self._maps.stop()

    def _take(self, partition: int, polled: Polled, decided: Decided) -> None:
        record = _decode(polled.value)
        key = request_of(record)
        if not self._horizon.may_begin(record, key, polled.at_ms) and not self._rows.is_known(partition, key):
            return None  # its marker is gone by now
        row = self._rows.row(partition, key)
        if polled.offset <= row.offset:
            return self._rows.release(partition, key)
        at = At(self._topic, partition, polled.offset, polled.at_ms)
        try:
            turn = self._machine.apply(row, record, at)
        except Exception as error:
            self._rows.drop(partition, key)  # it is half changed
            if isinstance(error, Poison):
                raise
            log.exception("%s: request %s at %s-%d@%d", self._stage, key, self._topic, partition, polled.offset)
            raise Poison(f"{self._stage}: {type(error).__name__} while it was applied") from error
        if row.offset != at.offset:  # it changed nothing
            return self._rows.release(partition, key)
        self._rows.changed(partition, key, record, at)
        decided.setdefault(key, []).extend(turn.asked)
        self._decisions.take(turn)
        if row.finished is not None:
            self._timers.forget(partition, key)
            self._horizon.ended(partition, key, polled.at_ms)
            self._on_over(key, row.finished)
        elif isinstance(record, Chunk | Result) and (call := row.calls.get(record.path)) is not None and call.is_over:
            self._timers.disarm(partition, key, record.path)
        return None

    async def _carry_out(self, partition: int, decided: Iterable[tuple[str, list[Instruction]]]) -> None:
        sends: list[Send] = []
        for key, instructions in decided:
            for instruction in instructions:
                match instruction:
                    case Send(call=None):
                        sends.append(instruction)
                    case Send(call=(path, attempt)):
                        if self._is_open(partition, key, path, attempt):
                            sends.append(instruction)
                    case Run(path, attempt):
                        if self._is_open(partition, key, path, attempt):
                            arguments = self._machine.arguments(self._rows.row(partition, key), path)
                            self._maps.start(partition, key, path, attempt, arguments)
                    case Arm(path, attempt, mark, at_ms, due):
                        self._timers.arm(partition, Timer(key, path, attempt, mark, due), at_ms)
        for wave in in_order(sends, results_topic(self._pipeline)):
            await insist(partial(self._send_all, wave))

    def _is_open(self, partition: int, key: str, path: str, attempt: int) -> bool:
        return is_open(self._rows.row(partition, key), path, attempt)

    async def _silent(self, partition: int, timer: Timer) -> None:
        """A timer has fired: it takes effect only as a record read back from the home, and not at all if it is void."""
        if self._maps.holds(partition, timer.request, timer.path, timer.attempt):
            # It waits for its turn, or runs within its own timeout: only a run that was lost is silent.
            self._timers.arm(partition, timer, int(time.time() * 1000) + HELD_AGAIN_MS)
            return None
        try:
            row = self._rows.known(partition, timer.request)
        except Fenced:  # in the middle of a rebalance: whoever keeps a partition arms no timer anew
            if partition in self._rows.partitions:
                self._timers.arm(partition, timer, int(time.time() * 1000) + HELD_AGAIN_MS)
            return None
        if row is None or row.finished is not None:
            return self._rows.release(partition, timer.request)
        if takes_effect(row, timer):
            await self._append(partition, timer)
        return None

    async def _append(self, partition: int, *records: Timer | Result | Cancel) -> None:
        outs = [Out(self._topic, record.request.encode(), encode(record), partition) for record in records]
        await insist_while(lambda: partition in self._rows.partitions, partial(self._send_all, outs))

    async def _row_too_large(self, partition: int, key: str, offset: int, error: Poison) -> None:
        await self._too_large(key, PolledAt(self._topic, partition, offset, 0, b"", key), error)

    async def _too_large(self, request: str, polled: Polled, error: Poison) -> None:
        log.warning("%s: request %s fails: %s", self._stage, request, error)
        cause = f"{self._stage}: what it keeps or sends for this request is larger than a record may be"
        told = letter_of(self._pipeline, self._stage, self._topic, polled, cause, carried=False)
        end = Out(self._root_topic, request.encode(), encode(Cancel(request, "", Status.FAILED, cause)))
        await insist(lambda: self._send_all([told, end]))
        self._decisions.letter(Cause.TOO_LARGE)

    async def _dead_letter(self, partition: int, polled: Polled, error: Poison) -> None:
        log.warning("%s: dead letter from %s-%d@%d: %s", self._stage, self._topic, partition, polled.offset, error)
        letter = letter_of(self._pipeline, self._stage, self._topic, polled, str(error))
        await insist(lambda: self._send_all([letter]))
        self._decisions.letter(Cause.UNREADABLE)
