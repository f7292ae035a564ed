"""Whatever a recording or a results file holds is read back as it was, in every format."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.recordings.differences import Tolerance, differences, of_run
from alto_streams.recordings.format import Became, Header, Recorded, Recording, hash_of, read_recording, write_recording
from alto_streams.recordings.results import Ran, RunHeader, read_results, write_results
from alto_streams.recordings.spacing import as_recorded
from alto_streams.wire.records import Mode, Raw, Status

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
JSON = VALUES.map(lambda value: Raw(msgspec.json.encode(value)))
SECONDS = st.none() | st.floats(-10, 1e6)
BECAME = st.builds(Became, st.sampled_from(Status), JSON.map(hash_of), st.floats(0, 1e6))
AT_MS = st.integers(0, 2**45)
OFFSETS = st.dictionaries(st.integers(0, 99), st.tuples(AT_MS, AT_MS))
REQUESTS = st.lists(
    st.builds(Recorded, TEXT, AT_MS, TEXT, JSON, st.sampled_from(Mode), SECONDS, st.none() | BECAME),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each.id,
)
LATE = st.floats(0, 9)
RAN = st.lists(
    st.builds(Ran, TEXT, st.floats(0, 1e6), st.sampled_from(Status), LATE, SECONDS, SECONDS, SECONDS, TEXT, JSON),
    max_size=8,
    unique_by=lambda each: each.id,
)


@given(REQUESTS, TEXT, OFFSETS, st.sampled_from(["a.jsonl", "a.jsonl.gz", "a.parquet"]))
def test_a_recording_is_read_as_it_was_written(
    requests: list[Recorded], text: str, offsets: dict[int, tuple[int, int]], name: str
) -> None:
    header = Header(1, text, text, len(requests), text, offsets)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_recording(path, Recording(header, requests))
        read = read_recording(path)
    assert read.header == header
    assert read.requests == sorted(requests, key=lambda each: (each.at_ms, each.id))
    planned = as_recorded(read.requests, 2.0)
    assert all(before.at_s <= after.at_s for before, after in pairwise(planned))


@given(RAN, RAN, TEXT)
def test_results_are_read_as_they_were_written_and_differ_from_others_alone(
    first: list[Ran], second: list[Ran], text: str
) -> None:
    header = RunHeader(1, text, text, text, text, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl.gz"
        write_results(path, header, first)
        read_header, read = read_results(path)
    assert read_header == header
    assert {each.id: each for each in read} == {each.id: each for each in first}
    assert [*differences(of_run(read), of_run(first), Tolerance(latencies=0.0))] == []
    told, other = of_run(first), of_run(second)
    named = {each.request for each in differences(told, other)}
    assert named == {each.request for each in differences(other, told)}
    unnamed = {*told, *other} - named
    assert all(told[each][:2] == other[each][:2] for each in unnamed)
