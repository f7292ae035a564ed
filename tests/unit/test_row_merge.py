"""Which version of a row counts after the changelog has been read back, and what a stock table would have kept."""

from __future__ import annotations

import pytest

from alto_streams.errors import Poison
from alto_streams.tables.markers import decode_stored, encode_stored
from alto_streams.tables.rows import Row as StageRow
from alto_streams.tables.rows import encode_row
from alto_streams.tables.versions import Row, Rows, decode_key, decode_value, encode_key, encode_value
from alto_streams.wire.records import Status

Log = list[tuple[bytes, bytes | None]]


def version(key: str, generation: int, offset: int, value: bytes) -> tuple[bytes, bytes | None]:
    return encode_key(key, generation), encode_value(offset, value)


def tombstone(key: str, generation: int) -> tuple[bytes, bytes | None]:
    return encode_key(key, generation), None


def read_back(log: Log) -> Rows:
    rows = Rows()
    for key, value in log:
        rows.apply(key, value)
    return rows


def compacted(log: Log) -> Log:
    """What compaction leaves: the last record of each key."""
    last = {key: position for position, (key, _) in enumerate(log)}
    return [record for position, record in enumerate(log) if last[record[0]] == position]


ZOMBIE_WRITES_LATE = [
    version("a", 1, 4, b"old"),
    version("a", 2, 9, b"new"),  # the new owner has gone on
    version("a", 1, 5, b"zombie"),  # the old one wakes up and writes what it had in hand
]


def test_a_zombie_wins_in_a_stock_table_and_loses_here() -> None:
    stock: dict[str, bytes] = {}
    for key, value in ZOMBIE_WRITES_LATE:  # a stock table's changelog has one key per row: the last write wins
        assert value is not None
        stock[decode_key(key)[0]] = decode_value(value)[1]
    assert stock == {"a": b"zombie"}
    for log in (ZOMBIE_WRITES_LATE, compacted(ZOMBIE_WRITES_LATE)):
        assert read_back(log).get("a") == Row(9, 2, b"new")


def test_the_generation_breaks_ties_whatever_comes_first() -> None:
    log = [version("a", 2, 9, b"newer"), version("a", 1, 9, b"older")]
    assert read_back(log).get("a") == Row(9, 2, b"newer")
    assert read_back(log[::-1]).get("a") == Row(9, 2, b"newer")


def test_an_older_generation_that_was_ahead_counts() -> None:
    assert read_back([version("a", 1, 9, b"ahead"), version("a", 2, 7, b"behind")]).get("a") == Row(9, 1, b"ahead")


def test_the_later_write_of_one_owner_at_one_offset_is_the_later_state() -> None:
    assert read_back([version("a", 1, 9, b"earlier"), version("a", 1, 9, b"later")]).get("a") == Row(9, 1, b"later")


def test_losers_can_be_buried_without_losing_the_row() -> None:
    rows = read_back(ZOMBIE_WRITES_LATE)
    assert list(rows.losers()) == [("a", 1)]
    assert rows.generations("a") == [1, 2]
    rows.bury("a", 1)
    assert list(rows.losers()) == []
    assert rows.get("a") == Row(9, 2, b"new")
    assert read_back([*ZOMBIE_WRITES_LATE, tombstone("a", 1)]).generations("a") == [2]


def test_a_deleted_row_stays_deleted_when_every_generation_is_buried() -> None:
    rows = read_back([*ZOMBIE_WRITES_LATE, tombstone("a", 1), tombstone("a", 2)])
    assert rows.get("a") is None
    assert len(rows) == 0
    assert rows.generations("a") == []


def test_a_version_that_was_buried_before_it_was_seen_leaves_the_row_to_the_others() -> None:
    # Generation 3 reads back (9, 1) and (7, 2); generation 2 writes once more; then generation 3 buries 2 as a loser.
    log = [version("a", 1, 9, b"row"), version("a", 2, 7, b"loser"), version("a", 2, 9, b"late"), tombstone("a", 2)]
    rows = read_back(log)
    assert rows.get("a") == Row(9, 1, b"row")
    assert rows.generations("a") == [1]


def test_reading_the_same_stretch_twice_changes_nothing() -> None:
    log = [*ZOMBIE_WRITES_LATE, version("b", 2, 3, b"b"), tombstone("a", 1)]
    rows = read_back(log)
    before = dict(rows.items()), list(rows.losers())
    for key, value in log:
        rows.apply(key, value)
    assert (dict(rows.items()), list(rows.losers())) == before


ID = "019afd0e-0000-7000-8000-0000000000ff"


@pytest.mark.parametrize(
    "key", ["req/answer/claims.3", "with:colon", "", "übrig", ID, ID.upper(), ID.replace("-", "x"), "=" + "a" * 22]
)
def test_keys_and_values_survive_the_wire(key: str) -> None:
    assert decode_key(encode_key(key, 17)) == (key, 17)
    assert decode_value(encode_value(5, b"1:2")) == (5, b"1:2")


@pytest.mark.parametrize("status", list(Status))
def test_a_marker_has_at_most_64_bytes(status: Status) -> None:
    """Of key and value together, after a million generations and a billion records."""
    row = StageRow(offset=10**9, finished=status)
    value = encode_stored(row)
    assert len(encode_key(ID, 10**6) + encode_value(row.offset, value)) <= 64
    again = decode_stored(value, row.offset)
    assert (again.offset, again.finished, encode_row(again)) == (row.offset, status, encode_row(row))


@pytest.mark.parametrize("raw", [b"", b"a", b"x:a", b":a", b"-1:a", b"1=a", b"=" + b"a" * 22])
def test_a_foreign_record_is_poison(raw: bytes) -> None:
    with pytest.raises(Poison):
        Rows().apply(raw, b"1:a")
    with pytest.raises(Poison):
        Rows().apply(b"1:a", raw)
