"""Which requests two runs differ in, and what a user is told of it: places and numbers, never a text."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alto_streams.cli import run_command
from alto_streams.cli.run_changes import Side, changes
from alto_streams.cli.run_figures import figures
from alto_streams.recordings.differences import Tolerance, differences, of_recording, of_run
from alto_streams.recordings.format import Became, Header, Recorded, Recording, hash_of, write_recording
from alto_streams.recordings.results import Ran, RunHeader, write_results
from alto_streams.wire.records import Raw, Status


def ran(name: str, result: object = None, status: str = "ok", done_s: float | None = 1.0) -> Ran:
    return Ran(name, 0.0, status, ttft_s=0.1, done_s=done_s, result=Raw(msgspec.json.encode(result)))


def said(first: list[Ran], second: list[Ran], tolerance: Tolerance = Tolerance()) -> list[str]:  # noqa: B008
    return [" ".join(str(each).split()) for each in differences(of_run(first), of_run(second), tolerance)]


@pytest.mark.parametrize(
    ("a", "b", "place"),
    [
        ({"claims": [{"verdict": True}]}, {"claims": [{"verdict": False}]}, "$.claims[0].verdict: true -> false"),
        ({"claims": [1, 2]}, {"claims": [1]}, "$.claims: 2 -> 1 items"),
        ({"a": 1, "b": 2}, {"b": 3, "a": 1}, "$.b: 2 -> 3 (+1)"),
        ({"a": 1}, {}, "$.a is only in the first"),
        ({"sure": 0.912}, {"sure": 0.9}, "$.sure: 0.912 -> 0.9 (-0.012)"),
        ({"text": "user said"}, {"text": "user"}, "$.text: text of 9 characters -> text of 4 characters"),
        ({"text": "user"}, {"text": None}, "$.text: text of 4 characters -> null"),
        ([1], {"user": 1}, "$: a list of 1 -> an object of 1"),
        (1, 1.0, "$: 1 -> 1.0 (+0)"),
        (True, 1, "$: true -> 1"),
    ],
)
def test_the_place_is_named(a: object, b: object, place: str) -> None:
    assert said([ran("r", a)], [ran("r", b)]) == [f"r result {place}"]


def test_equal_results_do_not_differ_whatever_their_order_and_latency() -> None:
    assert (
        said([ran("r", {"a": 1, "b": 2}, done_s=1.0), ran("s")], [ran("s"), ran("r", {"b": 2, "a": 1}, done_s=9.0)])
        == []
    )


CLAIM = {"claim": "x", "verdict": True, "confidence": 0.912, "evidence": [{"score": 3.1}]}
LIKE = {**CLAIM, "confidence": 0.915, "evidence": [{"score": 3.09}]}
OTHER = {**CLAIM, "verdict": False, "confidence": 0.6}


def test_every_place_is_named_and_by_how_much() -> None:
    first, second = [ran("r", {"claims": [CLAIM, CLAIM]})], [ran("r", {"claims": [LIKE, OTHER]})]
    assert said(first, second) == [
        "r result $.claims[0].confidence: 0.912 -> 0.915 (+0.003)",
        "r result $.claims[0].evidence[0].score: 3.1 -> 3.09 (-0.01)",
        "r result $.claims[1].confidence: 0.912 -> 0.6 (-0.312)",
        "r result $.claims[1].verdict: true -> false",
    ]
    assert said(first, second, Tolerance(0.01)) == [
        "r result $.claims[1].confidence: 0.912 -> 0.6 (-0.312)",
        "r result $.claims[1].verdict: true -> false",
    ]


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "same"),
    [
        (0.0, 0.009, 0.01, True),  # near zero, as an amount
        (1000.0, 1009.0, 0.01, True),  # elsewhere, as a share
        (1000.0, 1011.0, 0.01, False),
        (1, 1.0, 1e-9, True),  # a whole number, and the same one written as a float
        (True, 1, 0.5, False),
        ("0.1", "0.10", 0.5, False),  # a text is no number
    ],
)
def test_a_tolerance_is_of_numbers(a: object, b: object, tolerance: float, same: bool) -> None:
    assert (said([ran("r", [a])], [ran("r", [b])], Tolerance(tolerance)) == []) is same


def test_what_differs_in_many_places_is_counted() -> None:
    first, second = [ran("r", list(range(50)))], [ran("r", [-n - 1 for n in range(50)])]
    assert len(said(first, second)) == 21
    assert said(first, second)[-1] == "r result and 30 places more"


def test_statuses_and_missing_requests_are_named() -> None:
    first, second = [ran("a"), ran("b"), ran("c")], [ran("a"), ran("c", status="failed"), ran("d")]
    assert said(first, second) == ["b missing in the second", "c status ok -> failed", "d missing in the first"]


def test_latencies_count_beyond_the_tolerance() -> None:
    first, second = [ran("a", done_s=1.0), ran("b", done_s=None)], [ran("a", done_s=1.2), ran("b", done_s=3.0)]
    assert said(first, second) == said(first, second, Tolerance(latencies=0.25)) == []
    assert said(first, second, Tolerance(latencies=0.1)) == ["a latency 1.000 s -> 1.200 s (+20%)"]
    assert said(second, first, Tolerance(latencies=0.1)) == ["a latency 1.200 s -> 1.000 s (-17%)"]


def test_a_recording_with_results_is_a_run_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    became = Became(Status.OK, hash_of(b'{"a":1.5}'), 2.0, Raw(b'{"a":1.5}'))
    known_by_hash = Became(Status.OK, hash_of(b'{"a":1.5}'), 2.0)
    requests = [Recorded(name, 5, "p", Raw(b"{}"), became=became) for name in ("a", "b")]
    recording = Recording(Header(1, "p", "requests.p", 2, "2030"), requests)
    assert [*differences(of_recording(recording), of_run([ran("a", {"a": 1.5}), ran("b", {"a": 1.5})]))] == []
    write_recording(tmp_path / "rec.jsonl", recording)
    write_results(tmp_path / "same.jsonl", header(recording), [ran("a", {"a": 1.5}), ran("b", {"a": 1.5})])
    write_results(tmp_path / "other.jsonl.gz", header(recording), [ran("a", {"a": 1.5}), ran("b", {"a": 1.51})])
    assert run_command(["diff", f"{tmp_path}/rec.jsonl", f"{tmp_path}/same.jsonl"]) == 0
    out, error = capsys.readouterr()
    assert (out.splitlines()[-1], error) == ("0 of 2 requests differ", "")
    assert "done, mean, s                2.000     1.000    -50%" in out
    assert run_command(["diff", f"{tmp_path}/rec.jsonl", f"{tmp_path}/other.jsonl.gz"]) == 1
    assert "b  result    $.a: 1.5 -> 1.51 (+0.01)\nfirst   recorded from requests.p\n" in capsys.readouterr().out
    assert run_command(["diff", f"{tmp_path}/rec.jsonl", f"{tmp_path}/other.jsonl.gz", "--tolerance", "0.01"]) == 0
    assert "1 numbers differ within the tolerance of 0.01, by 0.01 at most\n0 of 2 requests" in capsys.readouterr().out
    old = Recording(recording.header, [msgspec.structs.replace(each, became=known_by_hash) for each in requests])
    write_recording(tmp_path / "old.jsonl", old)
    assert run_command(["diff", f"{tmp_path}/old.jsonl", f"{tmp_path}/other.jsonl.gz"]) == 1
    assert "b  result    differs; only its hash is known" in capsys.readouterr().out
    bare = Recording(recording.header, [msgspec.structs.replace(each, became=None) for each in requests])
    write_recording(tmp_path / "bare.jsonl", bare)
    assert run_command(["diff", f"{tmp_path}/bare.jsonl", f"{tmp_path}/same.jsonl"]) == 2
    assert "`record --results` does" in capsys.readouterr().err


def test_runs_of_different_recordings_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        recording = Recording(Header(1, "p", "x", 1, "2030"), [Recorded(name, 5, "p", Raw(b"{}"))])
        write_results(tmp_path / f"{name}.jsonl", header(recording), [ran(f"{name}{number}") for number in range(60)])
    assert run_command(["diff", f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"]) == 1
    out, error = capsys.readouterr()
    assert "not of the same requests" in error
    assert out.splitlines()[-2:] == ["... and 70 more (--most)", "120 of 120 requests differ"]


def side(ran: list[Ran], system: str = "simulator", hit_rate: float | None = None) -> Side:
    return Side("x", of_run(ran), system, hit_rate)


def test_what_changed_is_told_over_all_requests_that_ended_well_in_both() -> None:
    first = [ran(f"r{number}", done_s=1.0 + number / 100) for number in range(100)]
    faster = [msgspec.structs.replace(each, done_s=(each.done_s or 0) / 2, ttft_s=0.2) for each in first]
    faster[0] = msgspec.structs.replace(faster[0], status="shed", done_s=0.01)
    faster[1] = msgspec.structs.replace(faster[1], done_s=9.0)
    lines = list(changes(side(first, hit_rate=0.7), side(faster, "another", hit_rate=0.984)))
    assert lines[:2] == ["first   simulator", "second  another"]
    told = {line[:24].strip(): line[24:].split() for line in lines[3:-1]}
    assert told["ended ok"] == ["100", "99"]
    assert told["ended shed"] == ["0", "1"]
    assert told["done, p50, s"] == ["1.500", "0.755", "-50%"]
    assert told["done, p99, s"] == ["1.990", "9.000", "+352%"]
    assert told["first token, mean, s"] == ["0.100", "0.200", "+100%"]
    assert told["prefix tokens cached"] == ["70.0%", "98.4%"]
    assert lines[-1] == "done sooner by over 10%: 98; later by over 10%: 1; of 99"
    assert list(changes(side(first), side([]))) == []


def header(recording: Recording) -> RunHeader:
    return RunHeader(1, "p", recording.digest, "speed 1", "simulator")


def test_the_figures_are_of_what_ended_well_and_tell_of_their_own_lateness() -> None:
    many = [ran(f"r{number}", done_s=(number + 1) / 100) for number in range(100)]
    lines = figures([*many, ran("x", status="failed", done_s=50.0)], 150, is_real=False)
    assert lines[0] == "101 of 150 requests have ended: 1 failed, 100 ok"
    assert lines[-1].split() == ["done", "0.500", "0.990", "1.000"]
    assert not any("late" in line for line in lines)
    assert "sent late" in figures(many, 100, is_real=True)[-1]
    slow = [msgspec.structs.replace(each, late_s=0.2) for each in many]
    assert "sent late, for want of room" in figures(slow, 100, is_real=True)[-1]
    assert (
        figures(many, 100, is_real=False, hit_rate=0.5)[-1]
        == "50.0% of the prefixes' tokens were cached at the engines"
    )
    assert figures([], 3, is_real=True) == ["0 of 3 requests have ended: none"]
