"""A row survives its changelog as it is; the names of topics."""

from __future__ import annotations

from alto_streams.tables.rows import CallState, Row, decode_row, encode_row
from alto_streams.wire import topic_names
from alto_streams.wire.paths import Scope, Stream
from alto_streams.wire.records import Context, Mode, Raw, Status, TokenLogprob

FULL = Row(
    offset=2**40,
    context=Context(Mode.BARRIER, 5),
    values={"claims": {"0/1~2": Raw(b'{"claim":"\xc3\xa9"}')}},
    failures={"queries": {"0/1": "why"}},
    scopes={"found": {"0/0": Scope("0/0", 2, {"0/0": Stream(2, {0, 1}, 3, {1: 3}), "0/0/1": Stream()}, True)}},
    calls={
        "0/0": CallState(2, 1, 3, "run", 1, 3, 4, "text", 5, [1, 2], [TokenLogprob("t", {"t": -0.5})], 1, 2, 7),
        "0/1": CallState(1, tokens=None, closed=True),
    },
    withdrawn={"answer": {"": {1: 0, 2: 3}}},
    cancelled={"claims": {"0/1": Status.SHED}},
    finished=Status.FAILED,
)


def test_round_trip() -> None:
    again = decode_row(encode_row(FULL))
    assert encode_row(again) == encode_row(FULL)
    assert again.scopes == FULL.scopes
    assert again.calls == FULL.calls
    assert again.context == FULL.context
    assert (again.withdrawn, again.cancelled) == (FULL.withdrawn, FULL.cancelled)
    assert (again.offset, again.finished, again.failures) == (FULL.offset, FULL.finished, FULL.failures)
    assert bytes(again.values["claims"]["0/1~2"]) == bytes(FULL.values["claims"]["0/1~2"])


def test_rows_share_nothing() -> None:
    one, other = Row(), Row()
    one.scope("s", "0", 1).close("0", 1)
    one.calls["0"] = CallState()
    one.values.setdefault("a", {})["0"] = Raw(b"1")
    assert (other.scopes, other.calls, other.values) == ({}, {}, {})


def test_a_finished_row_is_a_marker() -> None:
    row = decode_row(encode_row(FULL))
    row.finish(Status.OK)
    assert len(encode_row(row)) <= 64
    assert decode_row(encode_row(row)).finished is Status.OK


def test_topic_names() -> None:
    assert topic_names.requests_topic("p") == "requests.p"
    assert topic_names.home_topic("p", "s") == "chunks.p.s"
    assert topic_names.work_topic("p", "s") == "work.p.s"
    assert topic_names.results_topic("p") == "results.p"
    assert topic_names.control_topic("p") == "control.p"
    assert topic_names.dead_letters_topic("p") == "dead-letters.p"
    assert topic_names.stage_app("p", "s") == "alto.p.s"
    assert topic_names.model_app("m") == "alto.lm.m"
    assert topic_names.changelog_topic("p", "s") == "alto.p.s-rows-changelog"
