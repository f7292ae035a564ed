"""Rules left out, one at a time: what the simulation has to notice. Each takes pytest's `monkeypatch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alto_streams.agents.home import agent, row_saver
from alto_streams.agents.home.working_rows import WorkingRows
from alto_streams.tables import attempts, calls, joins, machine, outputs, prompts, store, versions, withdrawals
from alto_streams.tables.attempts import Act, Ruling
from alto_streams.tables.markers import is_marker
from alto_streams.tables.requests import Requests
from alto_streams.tables.rows import CallState, Row
from alto_streams.tables.turns import Turn
from alto_streams.wire.paths import Scope, parse_path, wire_path
from alto_streams.wire.records import Chunk, Request, Start, Status, Timer, Work
from alto_streams.worker import pump

Mutant = Callable[[pytest.MonkeyPatch], None]


# --- the order of work in a home


def dedupe_off(patch: pytest.MonkeyPatch) -> None:
    true = agent.StageAgent._take

    def take(self: agent.StageAgent, partition: int, polled: Any, decided: Any) -> None:
        record = agent._decode(polled.value)
        self._rows.row(partition, record.id if isinstance(record, Request) else record.request).offset = -1
        true(self, partition, polled, decided)

    patch.setattr(agent.StageAgent, "_take", take)


def offset_before_row(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agent.StageAgent, "held", lambda self, partition: None)


def row_before_what_it_asks_for(patch: pytest.MonkeyPatch) -> None:
    true = WorkingRows.to_save
    patch.setattr(WorkingRows, "to_save", lambda self, partition, in_hand: true(self, partition, ()))
    patch.setattr(row_saver, "SAVE_EVERY_S", 0.0)


def offset_before_record(patch: pytest.MonkeyPatch) -> None:
    true = pump.Pump._finish

    async def finish(self: pump.Pump, partition: int, generation: int, batch: list[pump.Polled]) -> None:
        self._giver.finished(batch[0].topic, partition, [each.offset for each in batch], generation)
        await true(self, partition, generation, batch)

    patch.setattr(pump.Pump, "_finish", finish)


def marker_forgotten_early(patch: pytest.MonkeyPatch) -> None:
    true = WorkingRows.saved

    def saved(self: WorkingRows, partition: int, written: Any) -> None:
        true(self, partition, written)
        for key, _, value in written:
            if is_marker(value):
                self._stored._rows[partition].delete(key)  # type: ignore[attr-defined]

    patch.setattr(WorkingRows, "saved", saved)


def finished_rows_rise(patch: pytest.MonkeyPatch) -> None:
    true = Requests.forget

    def forget(self: Requests, turn: Turn, status: Status) -> None:
        true(self, turn, status)
        turn.row.finished = None

    patch.setattr(Requests, "forget", forget)


# --- the rows of owners and zombies


def lower_offset_wins(patch: pytest.MonkeyPatch) -> None:
    true = versions.Rows.apply

    def apply(self: versions.Rows, raw_key: bytes, raw_value: bytes | None) -> None:
        key, generation = versions.decode_key(raw_key)
        known = self.get(key)
        if raw_value is not None and known is not None and known.generation != generation:
            offset, value = versions.decode_value(raw_value)
            if offset < known.offset:
                self._rows[key] = versions.Row(offset, generation, value)
            return
        true(self, raw_key, raw_value)

    patch.setattr(versions.Rows, "apply", apply)


def no_generation_in_key(patch: pytest.MonkeyPatch) -> None:
    true = versions.encode_key
    patch.setattr(store, "encode_key", lambda key, generation: true(key, 0))


# --- attempts and runs


def second_start_ignored(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_start

    def rule(call: CallState | None, start: Start) -> Ruling:
        ruling = true(call, start)
        is_second = call is not None and call.run is not None and ruling.act is not Act.ABORT
        return Ruling(Act.IGNORE) if is_second else ruling

    patch.setattr(machine, "rule_start", rule)


def second_start_followed_after_text(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_start
    patch.setattr(machine, "rule_start", lambda c, s: Ruling(Act.FOLLOW) if true(c, s).act is Act.RETRY else true(c, s))


def runs_mixed(patch: pytest.MonkeyPatch) -> None:
    def rule(call: CallState | None, chunk: Chunk) -> Ruling:
        ours = call is not None and not call.closed and call.seq == chunk.seq and call.attempt == chunk.attempt
        return Ruling(Act.ACCEPT) if ours else Ruling(Act.IGNORE)

    patch.setattr(machine, "rule_chunk", rule)


def holes_skipped(patch: pytest.MonkeyPatch) -> None:
    true = attempts.rule_chunk
    patch.setattr(machine, "rule_chunk", lambda c, k: Ruling(Act.IGNORE) if true(c, k).act is Act.RETRY else true(c, k))


def older_attempts_accepted(patch: pytest.MonkeyPatch) -> None:
    def rule(call: CallState | None, chunk: Chunk) -> Ruling:
        return Ruling(Act.IGNORE) if call is None or call.closed or chunk.seq < call.seq else Ruling(Act.ACCEPT)

    patch.setattr(machine, "rule_chunk", rule)


def stale_timer_obeyed(patch: pytest.MonkeyPatch) -> None:
    def rule(call: CallState | None, timer: Timer) -> Ruling:
        ours = call is not None and not call.closed and timer.attempt == call.attempt
        return Ruling(Act.RETRY) if ours else Ruling(Act.IGNORE)

    patch.setattr(machine, "rule_timer", rule)


def prefix_off_by_one(patch: pytest.MonkeyPatch) -> None:
    def work(*args: Any, **rest: Any) -> Work:
        return Work(*args, **rest | {"prefix": rest["prefix"][:-1]})

    patch.setattr(prompts, "Work", work)


def numbering_begins_anew(patch: pytest.MonkeyPatch) -> None:
    true = attempts.next_attempt

    def next_attempt(call: CallState) -> None:
        true(call)
        call.shown = 0

    patch.setattr(attempts, "next_attempt", next_attempt)


# --- joins


def closes_counted_twice(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Scope, stream: str) -> bool:
        while self._at(stream).complete:
            if stream == self.path:
                self.complete = True
                return True
            stream = wire_path(parse_path(stream)[:-1])
            done = self._at(stream).done
            done.add(len(done))
        return False

    patch.setattr(Scope, "_settle", settle)


def closes_ignore_children(patch: pytest.MonkeyPatch) -> None:
    true = Scope.close
    patch.setattr(Scope, "close", lambda self, stream, count, *rest: true(self, stream, 0, *rest))


def failed_driver_is_silent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(joins.Joins, "driver_failure", lambda self, row, path: None)


def early_gather(patch: pytest.MonkeyPatch) -> None:
    true = joins.Joins.is_ready

    def is_ready(self: joins.Joins, row: Row, path: str) -> bool:
        for scopes in row.scopes.values():
            for scope in scopes.values():
                scope.complete = scope.complete or any(s.complete for s in scope.streams.values())
        return true(self, row, path)

    patch.setattr(joins.Joins, "is_ready", is_ready)


# --- withdrawals


def retraction_not_cascaded(patch: pytest.MonkeyPatch) -> None:
    true = outputs.Outputs.retract

    def retract(self: outputs.Outputs, turn: Turn, *args: Any) -> None:
        asked = len(turn.asked)
        true(self, turn, *args)
        del turn.asked[asked + 1 :]  # the client is told, the stages below are not

    patch.setattr(outputs.Outputs, "retract", retract)


def epoch_not_raised(patch: pytest.MonkeyPatch) -> None:
    true = calls.Calls._take_back

    def take_back(self: calls.Calls, turn: Turn, path: str, call: CallState) -> None:
        true(self, turn, path, call)
        call.epoch = 0

    patch.setattr(calls.Calls, "_take_back", take_back)


def replacement_is_no_retraction(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(withdrawals.Withdrawals, "implied", lambda self, source, paths: [])


def dead_paths_live_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(withdrawals.Withdrawals, "is_dead", lambda self, row, source, path: False)


def redone_text_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "begin_anew", lambda call: None)
