"""Traces of times and lengths: the text that is made of them has these lengths and shares what the trace shares."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from alto_streams.cli import run_command
from alto_streams.errors import ConfigError
from alto_streams.models.simulated import token_count
from alto_streams.recordings.format import Recorded, read_recording
from alto_streams.recordings.trace_units import Unit, unit_of
from alto_streams.recordings.traces import Shape, requests_of, text_of
from alto_streams.wire.records import Mode

TRACE = [
    '{"timestamp": 0, "input_length": 700, "output_length": 30, "hash_ids": [0, 1]}',
    '{"timestamp": 27.4, "input_length": 1300, "output_length": 9, "hash_ids": [0, 1, 2], "more": 1}',
    '{"timestamp": 3000, "input_length": 512, "output_length": 1, "hash_ids": [3]}',
]


def made(lines: list[str], shape: Shape, begin_ms: int = 0) -> list[Recorded]:
    return [*requests_of("trace", ((number, line.encode()) for number, line in enumerate(lines, 1)), shape, begin_ms)]


def texts(lines: list[str], shape: Shape) -> list[str]:
    return [msgspec.json.decode(each.input)[shape.field] for each in made(lines, shape)]


def test_times_and_lengths_are_the_trace_s() -> None:
    shape = Shape("factcheck", mode=Mode.BARRIER, output_field="count", more='{"stop_at_first_false": true}')
    first, second, third = made(TRACE, shape, 5_000)
    assert [each.at_ms for each in (first, second, third)] == [5_000, 5_027, 8_000]
    assert (first.id, first.pipeline, first.mode) == ("line-0000001", "factcheck", Mode.BARRIER)
    inputs = [msgspec.json.decode(each.input) for each in (first, second, third)]
    assert [each["count"] for each in inputs] == [30, 9, 1]
    assert all(each["stop_at_first_false"] for each in inputs)
    assert [token_count(each["prompt"]) for each in inputs] == pytest.approx([700, 1_300, 512], abs=2)


def test_equal_ids_are_equal_text() -> None:
    first, second, third = texts(TRACE, Shape("p"))
    assert second.startswith(first), "block 1 is whole in the second request, and begins alike in the first"
    assert not third.startswith(first[:60])
    block = " ".join(first.split()[:379])
    assert second.split()[379:758] != block.split(), "another id, another text"
    assert texts(TRACE, Shape("p")) == [first, second, third]
    assert texts(TRACE, Shape("p", seed=1)) != [first, second, third]


def test_requests_without_ids_share_nothing() -> None:
    line = '{"timestamp": 1, "input_length": 100}'
    one, other = texts([line, line], Shape("p"))
    assert one[:40] != other[:40]


def test_a_tokenizer_or_a_bound_of_one_s_own() -> None:
    assert len(text_of(100, ["a"], Shape("p", tokens_per_word=1.0)).split()) == 100
    assert len(text_of(1_000, [1, 2], Shape("p", tokens_per_word=1.0, most_tokens=600)).split()) == 600
    small = Shape("p", block_tokens=16, tokens_per_word=1.0)
    assert len(text_of(40, [1, 2, 3], small).split()) == 40
    assert text_of(1, [1], small)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("user text", "line 2: .*malformed"),
        ('{"timestamp": "user text", "input_length": 1}', r"line 2: .*\$\.timestamp"),
        ('{"timestamp": -1, "input_length": 1}', r"line 2: .*\$\.timestamp"),
        ('{"timestamp": 1, "input_length": 0}', r"line 2: .*\$\.input_length"),
        ('{"timestamp": 1}', "line 2: .*input_length"),
        (
            '{"timestamp": 1, "input_length": 20, "hash_ids": [0, 1]}',
            "line 2: field hash_ids has 2 ids; 20 tokens are 1",
        ),
    ],
)
def test_a_malformed_line_is_named(line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        made([TRACE[0], line], Shape("p"))
    assert "user text" not in str(refused.value)


def test_what_memory_should_not_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alto_streams.recordings.traces.MOST_BYTES", 12_000)
    with pytest.raises(ConfigError, match="line 3: over 0 GiB of text; cut it by --limit or --most-tokens"):
        made(TRACE, Shape("p"))
    assert len(made(TRACE, Shape("p", most_tokens=600))) == 3


def test_the_command_makes_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, out = tmp_path / "trace.jsonl.gz", tmp_path / "rec.jsonl.gz"
    trace.write_bytes(gzip.compress("\n".join(reversed(TRACE)).encode()))
    assert run_command(["import-trace", str(trace), "--out", str(out)]) == 0
    assert "3 requests of factcheck over 3.0 s, 0.667 a second, from trace.jsonl.gz" in capsys.readouterr().out
    assert [each.at_ms for each in read_recording(out).requests] == [0, 27, 3_000]
    assert run_command(["import-trace", str(trace), "--out", str(out), "--more", "[1]"]) == 2
    assert "--more: expected a JSON object" in capsys.readouterr().err
    trace.write_bytes(gzip.compress(b""))
    assert run_command(["import-trace", str(trace), "--out", str(out)]) == 2
    assert "it holds no request" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("timestamps", "unit"),
    [
        ([0, 300, 650, 3_600_000], Unit.MS),
        ([0, 27.4, 3000], Unit.MS),
        ([0.0, 0.31, 0.9, 2.5], Unit.S),
        ([0, 0, 1, 1, 2, 4], Unit.S),
        ([1_700_000_000.5, 1_700_000_001], Unit.S),
        ([1_700_000_000_500, 1_700_000_001_000], Unit.MS),
        ([1_700_000_000_500_000, 1_700_000_001_000_000], Unit.US),
        ([1_700_000_000_500_000_000, 1_700_000_001_000_000_000], Unit.NS),
        ([5], Unit.MS),
    ],
)
def test_the_unit_of_timestamps_is_found(timestamps: list[float], unit: Unit) -> None:
    assert unit_of(timestamps, "trace") is unit


def trace_of(folder: Path, timestamps: list[float]) -> list[str]:
    lines = [f'{{"timestamp": {at}, "input_length": 9}}\n' for at in timestamps]
    (folder / "t.jsonl").write_text("".join(lines))
    return ["import-trace", f"{folder}/t.jsonl", "--out", f"{folder}/rec.jsonl"]


def test_seconds_are_told_and_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(trace_of(tmp_path, [0.0, 0.4, 1.5])) == 0
    assert "over 1.5 s, 1.33 a second" in (out := capsys.readouterr().out)
    assert "its timestamps were taken for s; --unit says otherwise" in out
    assert [each.at_ms for each in read_recording(tmp_path / "rec.jsonl").requests] == [0, 400, 1500]


def test_what_may_be_either_unit_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = trace_of(tmp_path, [0, 10, 21, 29])
    assert run_command(given) == 2
    said = "in seconds 0.103 a second, in milliseconds 103 a second; say which it is: --unit s or --unit ms"
    assert said in capsys.readouterr().err
    assert run_command([*given, "--unit", "s"]) == 0
    assert "over 29.0 s" in capsys.readouterr().out


@pytest.mark.parametrize("timestamps", [[0, 0, 0], [0.1, 0.4]])
def test_a_trace_of_no_length_is_told(
    timestamps: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*trace_of(tmp_path, timestamps), "--unit", "ms"]) == 0
    assert "the trace has no length; is --unit right?" in capsys.readouterr().err
