"""What may be committed, on our gate and on stock Faust's own arithmetic: the same acknowledgements, two answers."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Protocol

import pytest
from faust.transport.consumer import Consumer as StockConsumer
from faust.types import TP

from alto_streams.errors import Fenced
from alto_streams.log.commit_gate import Gate
from alto_streams.log.fence import Fence

TP0 = TP("work", 0)


class Acks(Protocol):
    def deliver(self, tp: TP, offset: int, generation: int) -> None: ...
    def finish(self, tp: TP, offset: int, generation: int) -> bool: ...
    def position(self, tp: TP) -> int | None: ...


class Stock:
    """Stock Faust's bookkeeping of acknowledgements, without its consumer."""

    def __init__(self) -> None:
        self._state = SimpleNamespace(
            _acked=defaultdict(list),
            _acked_index=defaultdict(set),
            _gap=defaultdict(list),
            _committed_offset=defaultdict(lambda: None),
        )

    def deliver(self, tp: TP, offset: int, generation: int) -> None:
        pass

    def finish(self, tp: TP, offset: int, generation: int) -> bool:
        self._state._acked_index[tp].add(offset)
        self._state._acked[tp].append(offset)
        return True

    def position(self, tp: TP) -> int | None:
        position: int | None = StockConsumer._new_offset(self._state, tp)
        return position


def committed_after(acks: Acks, finished: list[int]) -> int | None:
    for offset in range(20):
        acks.deliver(TP0, offset, 1)
    for offset in finished:
        acks.finish(TP0, offset, 1)
    return acks.position(TP0)


def test_records_finished_out_of_order_are_not_committed_over() -> None:
    finished = [5, 6, 7, 12]
    assert committed_after(Stock(), finished) == 8, "stock Faust commits over 0-4, which nobody has finished"
    assert committed_after(Gate(), finished) is None
    assert committed_after(Gate(), [1, 0, 2, 5]) == 3


def test_a_late_acknowledgement_of_an_older_assignment_changes_nothing() -> None:
    for acks, held in ((Stock(), False), (Gate[TP](), True)):
        acks.deliver(TP0, 0, 1)
        if isinstance(acks, Gate):
            acks.revoke([TP0])
        acks.deliver(TP0, 0, 2)  # redelivered under the next generation, and being worked on
        acks.finish(TP0, 0, 1)  # the first delivery ends now
        assert (acks.position(TP0) is None) is held


def test_offsets_that_the_log_skips_do_not_hold_the_gate() -> None:
    gate: Gate[TP] = Gate()
    for offset in (3, 7, 8):
        gate.deliver(TP0, offset, 1)
    assert gate.finish(TP0, 7, 1)
    assert gate.position(TP0) is None
    assert gate.finish(TP0, 3, 1)
    assert gate.position(TP0) == 8
    assert gate.unfinished() == 1


def test_what_is_delivered_again_under_the_same_assignment_keeps_its_place() -> None:
    gate: Gate[TP] = Gate()
    for offset in (0, 1, 2, 0, 1, 2):
        gate.deliver(TP0, offset, 1)
    assert gate.finish(TP0, 1, 1)
    assert not gate.finish(TP0, 1, 1), "finished once"
    assert gate.finish(TP0, 0, 1)
    assert gate.position(TP0) == 2
    gate.deliver(TP0, 0, 1)
    assert gate.position(TP0) == 2


def test_an_assignment_starts_anew_and_an_older_delivery_does_not_bring_it_back() -> None:
    gate: Gate[TP] = Gate()
    gate.deliver(TP0, 0, 1)
    gate.finish(TP0, 0, 1)
    gate.revoke([TP0])
    assert gate.position(TP0) is None
    assert gate.partitions() == []
    gate.deliver(TP0, 0, 3)
    gate.deliver(TP0, 1, 2)
    assert gate.generation(TP0) == 3
    assert not gate.finish(TP0, 1, 2)


def test_a_silent_worker_is_fenced_after_its_session() -> None:
    now = [100.0]
    fence = Fence("alto.test", 10.0, clock=lambda: now[0])
    fence.check()
    now[0] = 500.0
    fence.check()  # never joined: it owns nothing
    fence.beat(500.0)
    now[0] = 510.0
    fence.check()
    now[0] = 510.1
    with pytest.raises(Fenced, match=r"alto\.test.*10\.1 s ago"):
        fence.check()
    fence.beat(510.0)
    fence.check()
