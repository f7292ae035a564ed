"""When a worker counts as stalled: in each situation that may look like one, and in any history."""

from __future__ import annotations

import asyncio
import itertools
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.worker.watch import Watch
from alto_streams.worker.watchdog import Sample, Watchdog

PATIENCE_S = 120.0
STEP_S = 10.0


def stalled(samples: list[Sample]) -> list[float]:
    """When it was called stalled."""
    dog = Watchdog(PATIENCE_S)
    return [sample.at_s for sample in samples if dog.look(sample).stalled is not None]


def history(steps: int, begin_s: float = 0.0, **changes: object) -> list[Sample]:
    """A worker in which nothing moves, looked at every ten seconds; a change may be a list, one value a step."""
    samples = []
    for step in range(steps):
        given = {name: value[step] if isinstance(value, list) else value for name, value in changes.items()}
        samples.append(Sample(**{"at_s": begin_s + step * STEP_S, "moved": (5,), "lag": 0} | given))  # type: ignore[arg-type]
    return samples


def test_it_is_looked_at_often_enough() -> None:
    assert Watchdog(PATIENCE_S).interval_s * 2 < PATIENCE_S / 2  # else one late look would be taken for a pause


def test_a_worker_that_holds_a_record_and_does_nothing_is_stalled() -> None:
    assert stalled(history(20, lag=1, held=1)) == [step * STEP_S for step in range(13, 20)]


def test_a_worker_that_fetches_nothing_of_what_comes_is_stalled() -> None:
    assert stalled(history(20, lag=list(range(20))))[0] == 130.0


def test_a_worker_whose_loop_is_blocked_is_stalled_though_nothing_more_comes() -> None:
    samples = history(3) + history(20, 30.0, lag=1, is_awake=False)
    assert stalled(samples)[0] == 150.0


@pytest.mark.parametrize(
    "changes",
    [
        {},  # idle, or it owns nothing
        {"lag": 1},  # an offset without a record at the end of the log
        {"lag": None, "held": 3},  # the broker is away
        {"lag": 9, "held": 3, "excuse": "the engine"},
        {"lag": 9, "held": 3, "moved": [(each // 11,) for each in range(40)]},  # slow, recovering, or rebalancing
        {"lag": [0 if each % 12 == 0 else each for each in range(40)], "held": 1},
    ],
)
def test_a_worker_is_left_alone(changes: dict[str, Any]) -> None:
    assert stalled(history(40, **changes)) == []


def test_a_blocked_loop_is_not_excused_by_what_it_last_waited_for() -> None:
    assert stalled(history(20, lag=1, held=1, excuse="the engine", is_awake=False))


def test_a_process_that_was_paused_begins_anew() -> None:
    before, after = history(13, lag=1, held=1), history(12, 1_000.0, lag=5, held=1)
    assert stalled(before + after) == []


def test_the_reason_says_how_long_and_what() -> None:
    dog = Watchdog(PATIENCE_S)
    said = [dog.look(each).stalled for each in history(14, lag=list(range(3, 17)), held=2)][-1]
    assert said == (
        "nothing has moved for 120 s while 16 records wait, 13 of them new;"
        " 2 were handed to it and are not finished; its event loop answers"
    )
    dog = Watchdog(PATIENCE_S)
    said = [dog.look(each).stalled for each in history(14, lag=1, is_awake=False)][-1]
    assert said == (
        "nothing has moved for 120 s while a record waits; it has fetched none of them; its event loop is blocked"
    )


def test_without_patience_nobody_is_watched() -> None:
    before = threading.active_count()
    Watch(None, "app", "kafka://127.0.0.1:1", 0.0).start()
    assert threading.active_count() == before


def test_what_it_waits_for_is_told() -> None:
    dog = Watchdog(PATIENCE_S)
    told = [dog.look(each).excused for each in history(3, lag=1, excuse="engine x: cannot be reached")]
    assert told[1:] == ["engine x: cannot be reached"] * 2
    assert dog.look(Sample(30.0, (5,), None, excuse="the broker")).excused == "the broker"


async def test_a_recovery_whose_offsets_are_not_known_yet_is_looked_at() -> None:
    gate = SimpleNamespace(position=lambda tp: None, unfinished=lambda: 2)
    consumer = SimpleNamespace(finished_count=3, gate=gate, sources=set)
    tables = SimpleNamespace(recovery=SimpleNamespace(active_offsets={0: None, 1: 40}))
    app = SimpleNamespace(consumer=consumer, tables=tables, consumer_generation_id=7)
    watch = Watch(app, "app", "kafka://127.0.0.1:1", PATIENCE_S)
    watch._loop, watch._consumer, watch._recovery = asyncio.get_running_loop(), consumer, tables.recovery
    assert (await watch._sample()).moved == (3, 7, 40, 0)


Drawn = list[tuple[float, bool, int | None, int, bool, bool]]
steps = st.tuples(
    st.floats(1.0, 30.0), st.booleans(), st.integers(0, 5) | st.none(), st.integers(0, 2), st.booleans(), st.booleans()
)


def samples_of(drawn: Drawn) -> list[Sample]:
    at_s = itertools.accumulate(step[0] for step in drawn)
    finished = itertools.accumulate(int(step[1]) for step in drawn)
    return [
        Sample(at, (done,), lag, held, awake, "the engine" if excused else None)
        for at, done, (_, _, lag, held, awake, excused) in zip(at_s, finished, drawn, strict=True)
    ]


@given(st.lists(steps, max_size=60))
def test_whoever_is_stalled_has_done_nothing_for_as_long(drawn: Drawn) -> None:
    samples = samples_of(drawn)
    for at_s in stalled(samples):
        window = [each for each in samples if at_s - PATIENCE_S <= each.at_s <= at_s]
        assert window[-1].at_s - window[0].at_s >= PATIENCE_S - 30.0
        assert len({each.moved for each in window}) == 1
        assert all(each.lag for each in window)
        assert not any(each.excuse and each.is_awake for each in window)


@given(st.lists(steps, max_size=30), st.integers(0, 9), st.booleans())
def test_whoever_does_nothing_for_long_enough_is_stalled(drawn: Drawn, lag: int, is_awake: bool) -> None:
    before = samples_of(drawn)
    begin_s = before[-1].at_s + STEP_S if before else 0.0
    after = history(16, begin_s, moved=(99,), lag=[lag + each for each in range(16)], is_awake=is_awake)
    assert [at_s for at_s in stalled(before + after) if at_s >= begin_s]
