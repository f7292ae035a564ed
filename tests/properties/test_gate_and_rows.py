"""The gate never lets an unfinished record through; merging rows does not depend on interleaving or compaction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alto_streams.log.commit_gate import Gate
from alto_streams.tables.versions import Rows, encode_key, encode_value

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(1, 3)),  # the next offset, after a gap
        st.tuples(st.just("finish"), st.integers(0, 30)),
        st.tuples(st.just("late"), st.integers(0, 30)),  # an acknowledgement of the assignment before
        st.tuples(st.just("seek"), st.integers(0, 30)),  # delivered again from the committed offset
        st.tuples(st.just("rebalance"), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS)
def test_the_position_is_exactly_the_finished_prefix(steps: list[tuple[str, int]]) -> None:
    gate: Gate[str] = Gate()
    generation, delivered, finished = 1, list[int](), set[int]()
    committed, top = 0, -1
    for step, number in steps:
        if step == "deliver":
            top += number
            delivered.append(top)
            gate.deliver("p", top, generation)
        elif step == "finish" and delivered:
            offset = delivered[number % len(delivered)]
            assert gate.finish("p", offset, generation) is (offset not in finished)
            finished.add(offset)
        elif step == "late" and delivered:
            assert not gate.finish("p", delivered[number % len(delivered)], generation - 1)
        elif step == "seek":
            for offset in delivered:
                if offset >= committed:
                    gate.deliver("p", offset, generation)
        elif step == "rebalance":
            gate.revoke(["p"])
            generation, top = generation + 1, committed - 1
            delivered, finished = [], set()
        prefix = 0
        while prefix < len(delivered) and delivered[prefix] in finished:
            prefix += 1
        assert gate.position("p") == (delivered[prefix - 1] + 1 if prefix else None)
        assert gate.unfinished() == len(delivered) - len(finished)
        committed = gate.position("p") or committed


@st.composite
def changelogs(draw: st.DrawFn) -> tuple[list[tuple[bytes, bytes | None]], dict[str, tuple[int, int]]]:
    """Owners that each write rising offsets, interleaved as zombies would; and the versions that must win."""
    best: dict[str, tuple[int, int]] = {}
    writers: list[list[tuple[bytes, bytes | None]]] = []
    for generation in range(1, draw(st.integers(1, 4)) + 1):
        writes: list[tuple[bytes, bytes | None]] = []
        for offset in sorted(draw(st.lists(st.integers(0, 20), max_size=6))):
            key = draw(st.sampled_from("abc"))
            writes.append((encode_key(key, generation), encode_value(offset, b"%d/%d" % (offset, generation))))
            best[key] = max(best.get(key, (-1, -1)), (offset, generation))
        writers.append(writes)
    log: list[tuple[bytes, bytes | None]] = []
    while any(writers):
        log.append(draw(st.sampled_from([writes for writes in writers if writes])).pop(0))
    return log, best


@given(changelogs(), st.data())
def test_the_highest_offset_wins_under_any_interleaving_and_compaction(
    changelog: tuple[list[tuple[bytes, bytes | None]], dict[str, tuple[int, int]]], data: st.DataObject
) -> None:
    log, best = changelog
    last = {key: position for position, (key, _) in enumerate(log)}
    kept = [
        record
        for position, record in enumerate(log)
        if position == last[record[0]] or data.draw(st.booleans(), label="not compacted yet")
    ]
    rows = Rows()
    for key, value in kept:
        rows.apply(key, value)
    assert {key: (row.offset, row.generation) for key, row in rows.items()} == best
    assert all(row.value == b"%d/%d" % (row.offset, row.generation) for _, row in rows.items())
    for name, generation in list(rows.losers()):
        rows.bury(name, generation)
    assert {key: (row.offset, row.generation) for key, row in rows.items()} == best
    assert all(rows.generations(key) == [row.generation] for key, row in rows.items())
