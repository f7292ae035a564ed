"""Recordings and results: what is written is read again, what is wrong is named, and equals make equal files."""

from __future__ import annotations

import gzip
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alto_streams.errors import ConfigError
from alto_streams.recordings.files import check_target
from alto_streams.recordings.format import (
    Became,
    Header,
    Recorded,
    Recording,
    hash_of,
    one_line,
    read_recording,
    write_recording,
)
from alto_streams.recordings.results import Ran, RunHeader, percentile, read_results, write_results
from alto_streams.recordings.spacing import Arrivals, as_recorded, at_rate
from alto_streams.wire.records import Mode, Raw, Status

ENDINGS = ("jsonl", "jsonl.gz", "parquet")
AT_MS = 1_900_000_000_000


def request(number: int, at_ms: int = 0, **changes: Any) -> Recorded:
    given: dict[str, Any] = {"id": f"r{number}", "at_ms": AT_MS + at_ms, "pipeline": "factcheck"}
    return Recorded(**given | {"input": Raw(b'{"prompt":"n %d \\u2028 \xc3\xa9"}' % number)} | changes)


def recording(*requests: Recorded) -> Recording:
    created = "2030-01-31T12:00:00+00:00"
    return Recording(Header(1, "factcheck", "requests.factcheck", len(requests), created, {0: (3, 9)}), [*requests])


SOME = recording(
    request(0),
    request(1, 250, mode=Mode.BARRIER, within_s=12.5),
    request(2, 1_000, became=Became(Status.FAILED, hash_of(b"null"), 0.75, Raw(b"null"))),
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read_again(ending: str, tmp_path: Path) -> None:
    path, again = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    write_recording(path, SOME)
    assert read_recording(path) == SOME
    os.utime(path, (0, 0))
    write_recording(again, SOME)
    assert again.read_bytes() == path.read_bytes()
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".part"] == []


def test_requests_are_read_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.jsonl", recording(request(1, 5), request(3, 2), request(2, 2)))
    assert [each.id for each in read_recording(tmp_path / "a.jsonl").requests] == ["r2", "r3", "r1"]


def test_the_digest_is_of_what_was_asked_alone() -> None:
    became = Became(Status.OK, hash_of(b"1"), 1.0)
    assert recording(request(0)).digest == recording(request(0, became=became)).digest
    assert recording(request(0)).digest != recording(request(0, 1)).digest


def test_json_keeps_its_numbers_on_one_line() -> None:
    assert one_line(b'{"b": 1.0,\n "a": [12345678901234567890123, 2e5]}') == Raw(
        b'{"b":1.0,"a":[12345678901234567890123,2e5]}'
    )
    assert hash_of(b'{"b": 1, "a": [2]}') == hash_of(b'{"a":[2],"b":1}') != hash_of(b'{"a":[2],"b":2}')


LINE = msgspec.json.encode(request(0)).decode()
HEADER = msgspec.json.encode(recording(request(0)).header).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("user text", "line 1: no header of a recording.*alto-streams record"),
        (f"{LINE}\n", "line 1: no header of a recording"),
        (
            HEADER.replace('"version":1', '"version":2'),
            "line 1: a recording of version 2; this program reads version 1",
        ),
        (HEADER.replace('"requests":1', '"requests":"user text"'), r"line 1: .*`int`.*\$\.requests"),
        (f"{HEADER}\n", "it has 0 requests; its header says 1: it is cut off"),
        (HEADER.replace('"requests":1', '"requests":0'), "it holds no request"),
        (f"{HEADER}\n\n{LINE.replace('factcheck', 'user text')[:-9]}", "line 3: .*(truncated|malformed)"),
        (f"{HEADER}\n{LINE.replace(str(AT_MS), '7.5')}", r"line 2: .*`int`.*\$\.at_ms"),
        (f'{HEADER}\n{{"id": "a"}}', "line 2: .*missing required field `at_ms`"),
        (f'{HEADER}\n{LINE[:-1]},"mode":"user text"}}', r"line 2: .*\$\.mode"),
        (f"{HEADER}\n{LINE}\n{LINE}", "line 3: id 'r0' stands in line 2 already"),
    ],
)
def test_a_malformed_line_is_named_without_its_text(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}.*{said}") as refused:
        read_recording(path)
    assert "user text" not in str(refused.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "a.jsonl.gz"
    write_recording(whole, recording(*(request(number) for number in range(500))))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_recording(tmp_path / "b.jsonl")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_recording(tmp_path)
    for name, content, said in (
        ("cut.jsonl.gz", whole.read_bytes()[:-40], "it is cut off after line"),
        ("plain.jsonl.gz", gzip.decompress(whole.read_bytes()), "it is no gzip file"),
        ("damaged.jsonl.gz", whole.read_bytes()[:60] + b"\0" * 60, "no gzip file, or a damaged one"),
        ("no.parquet", b"user text", "it is no Parquet file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=f"{name}: .*{said}"):
            read_recording(tmp_path / name)


def test_a_table_of_another_form_is_named(tmp_path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    write_recording(path, SOME)
    table = parquet.read_table(path)
    for name, changed, said in (
        ("alien", table.replace_schema_metadata({}), "no header of a recording"),
        ("narrow", table.drop_columns(["mode"]), "it has no column mode"),
        (
            "input",
            table.set_column(3, "input", arrow.array(["{}", "{user", "{}"])),
            "row 2: a wrong value: field input",
        ),
        ("mode", table.set_column(4, "mode", arrow.array(["stream", "barrier", "user"])), "row 3: .*field mode"),
    ):
        parquet.write_table(changed, tmp_path / f"{name}.parquet")
        with pytest.raises(ConfigError, match=f"{name}.parquet.*{said}") as refused:
            read_recording(tmp_path / f"{name}.parquet")
        assert "user" not in str(refused.value).removeprefix(str(tmp_path))


def test_the_extra_that_parquet_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"a\.parquet: Parquet needs pyarrow.*pip install pyarrow"):
        write_recording(tmp_path / "a.parquet", SOME)


def test_a_file_that_cannot_be_written_is_named_before_anything_is_done(tmp_path: Path) -> None:
    check_target("--out", tmp_path / "a.jsonl.gz")
    with pytest.raises(ConfigError, match=r"--out .*a\.csv: expected a name that ends in \.jsonl or \.jsonl\.gz"):
        check_target("--out", tmp_path / "a.csv")
    with pytest.raises(ConfigError, match="there is no folder"):
        check_target("--out", tmp_path / "b" / "a.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        write_recording(tmp_path / "folder.jsonl", SOME)


def test_results_come_back_by_their_scheduled_arrival(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    header = RunHeader(1, "factcheck", SOME.digest, "speed 2", "http://127.0.0.1:8600", "2030-01-31T12:00:00+00:00")
    late = Ran("r1", 0.5, "failed", late_s=0.1, cause="deadline exceeded")
    first = Ran("r0", 0.0, "ok", ttft_s=0.1, first_item_s=0.2, done_s=0.3, result=Raw(b'{"claims":[]}'))
    write_results(path, header, [late, first])
    assert read_results(path) == (header, [first, late])
    path = tmp_path / "b.jsonl"
    for text, said in (
        ("", "it is empty"),
        (HEADER, "line 1: "),
        (f"{HEADER.replace('recording', 'run')}", "line 1: "),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_results(path)


def test_own_spacing_keeps_its_proportions() -> None:
    requests = [request(0), request(1, 300), request(2, 300), request(3, 2_000)]
    assert [at_s for at_s, _ in as_recorded(requests, 1)] == [0.0, 0.3, 0.3, 2.0]
    assert [at_s for at_s, _ in as_recorded(requests, 4)] == [0.0, 0.075, 0.075, 0.5]
    assert as_recorded([], 1) == []


def test_a_rate_replaces_the_spacing() -> None:
    requests = [request(number) for number in range(4_000)]
    even = at_rate(requests, 8, Arrivals.UNIFORM, 1)
    assert [at_s for at_s, _ in even[:3]] == [0.0, 0.125, 0.25]
    drawn = at_rate(requests, 8, Arrivals.POISSON, 1)
    assert drawn == at_rate(requests, 8, Arrivals.POISSON, 1) != at_rate(requests, 8, Arrivals.POISSON, 2)
    assert [each.id for _, each in drawn] == [each.id for each in requests]
    assert drawn[-1].at_s == pytest.approx(500, rel=0.05)
    gaps = [after.at_s - before.at_s for before, after in pairwise(drawn)]
    assert sum(gap > 0.125 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.03), "e^-1 of an exponential"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 201)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 100.0, 198.0, 200.0]
    assert percentile([7.0], 0.99) == 7.0
