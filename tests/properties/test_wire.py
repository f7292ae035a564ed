"""Whatever can be said survives the wire; whatever else arrives is refused as poison, and harms nobody."""

from __future__ import annotations

import typing
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.errors import Poison
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Row, decode_row, encode_row
from alto_streams.tables.turns import At
from alto_streams.wire.call import Call
from alto_streams.wire.paths import MAX_DEPTH, MAX_EPOCH, MAX_INDEX, Level, Path, parse_path, wire_path
from alto_streams.wire.records import ControlRecord, DeadLetter, Event, HomeRecord, Raw, Work, decoder, encode
from tests.placing import Always
from tests.simulation.script import pipeline

LEVEL_BYTES = 16
TOPICS = {"chunks": HomeRecord, "control": ControlRecord, "work": Work, "results": Event, "dead-letters": DeadLetter}
decode_home = decoder(HomeRecord)  # type: ignore[arg-type,var-annotated]

LEVELS = st.builds(Level, st.integers(0, MAX_EPOCH), st.integers(0, MAX_INDEX))
PATHS = st.lists(LEVELS, max_size=MAX_DEPTH).map(tuple)
RAWS = st.sampled_from([Raw(b"null"), Raw(b'{"text":"a"}'), Raw(b"[1]"), Raw(b'"x"')])
NAMES = st.sampled_from(["", *pipeline.stages, "request", "nobody"])
SMALL = st.integers(0, 3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.text(max_size=3),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=3), each, max_size=2),
    max_leaves=4,
)
CONSTRAINTS = {"grammar", "choices", "json_schema", "regex"}  # of a call, one at most
WIRES = st.one_of(
    st.lists(st.builds("{}~{}".format, SMALL, st.integers(1, 3)) | SMALL.map(str), max_size=4).map("/".join),
    st.sampled_from(["x", "01", "1~0", "/", "9999999", "0/" * 20 + "0"]),
)


@lru_cache
def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type as a record may have it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Raw:
        return RAWS
    if kind is Any:
        return JSON
    if kind is Call:
        return st.one_of(*(any_struct(Call, leave_out=CONSTRAINTS - {name}) for name in sorted(CONSTRAINTS)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return any_struct(kind)
    if origin is list:
        return st.lists(any_of(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(any_of(arguments[0]), any_of(arguments[1]), max_size=2)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if arguments:
        return st.one_of(*map(any_of, arguments))
    if kind is int:
        return st.integers(0, 5) | st.integers(-(2**31), 2**53)
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    return st.text(max_size=5) if kind is str else st.from_type(kind)


def any_struct(kind: type[msgspec.Struct], leave_out: Collection[str] = ()) -> st.SearchStrategy[Any]:
    """Any value of a record; where it has paths and names of stages, often such as there are."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in msgspec.structs.fields(kind) if field.name not in leave_out]
    fields = {name: any_of(hints[name]) for name in names}
    likely = {"path": WIRES, "stage": NAMES, "request": st.just("r"), "attempt": SMALL, "seq": SMALL, "first": SMALL}
    likely |= {"run": st.sampled_from("ab"), "epoch": SMALL, "count": SMALL}
    return st.builds(kind, **fields | {name: each for name, each in likely.items() if name in fields})


@given(PATHS)
def test_a_path_survives_in_sixteen_bytes_a_level(path: Path) -> None:
    wire = wire_path(path)
    assert parse_path(wire) == path
    assert len(wire.encode()) <= LEVEL_BYTES * len(path)


@given(st.text(max_size=12) | st.from_regex(r"[0-9~/]{1,12}", fullmatch=True))
def test_one_wire_form_a_path(wire: str) -> None:
    try:
        path = parse_path(wire)
    except Poison:
        return
    assert wire_path(path) == wire


@pytest.mark.parametrize("topic", TOPICS)
@given(st.data())
def test_any_record_survives(topic: str, data: st.DataObject) -> None:
    kind: Any = TOPICS[topic]
    record = data.draw(any_of(kind))
    read = decoder(kind)(encode(record))
    assert type(read) is type(record)
    assert encode(read) == encode(record)


@given(any_of(HomeRecord), st.data())
def test_what_is_no_record_is_poison(record: Any, data: st.DataObject) -> None:
    payload = bytearray(encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        read = decode_home(bytes(payload))
    except Poison:
        return
    assert encode(read)


@given(st.sampled_from(sorted(pipeline.stages)), st.lists(any_of(HomeRecord), max_size=8))
def test_any_record_is_understood_or_poison(stage: str, records: list[Any]) -> None:
    """Nothing that can be read stops a home; a record that it refuses leaves the row as it was stored."""
    machine, row = StageMachine(pipeline, stage, Always(), Limits(3, 1_000)), Row()
    for offset, record in enumerate(records):
        stored = encode_row(row)
        try:
            machine.apply(row, record, At("home", 0, offset, 1_000 + offset))
        except Poison:
            row = decode_row(stored)
            machine.forget("r")
        assert encode_row(decode_row(encode_row(row))) == encode_row(row)
