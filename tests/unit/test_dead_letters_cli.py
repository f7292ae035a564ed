"""What `alto-streams dead-letters` prints: everything that helps, and nothing that a user wrote."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from alto_streams.cli import run_command
from alto_streams.cli.dead_letters import fields, show_lines, table, told
from alto_streams.cli.log_reading import since_of
from alto_streams.errors import ConfigError
from alto_streams.history.letters import LetterId, StoredLetter
from alto_streams.history.redrive import Redriven
from alto_streams.wire.records import DeadLetter
from alto_streams.wire.request_ids import new_request_id

REQUEST = new_request_id()
AT_MS = 1_900_000_000_123  # 2030-03-17T17:46:40.123Z


def stored(offset: int, **changes: Any) -> StoredLetter:
    given: dict[str, Any] = {"cause": "malformed path", "stage": "claims", "request": REQUEST, "path": "0/1"}
    given |= {"topic": "chunks.factcheck.claims", "partition": 3, "offset": 41} | changes
    return StoredLetter(LetterId("factcheck", 0, offset), AT_MS, DeadLetter(**given), 120)


def test_an_id_is_read_as_it_is_printed() -> None:
    assert LetterId.of("factcheck:0:42") == LetterId("factcheck", 0, 42)
    assert str(LetterId("factcheck", 0, 42)) == "factcheck:0:42"
    for wrong in ("", "42", "factcheck:0", "factcheck:0:x", "factcheck:-1:2", "a:b:0:1", "factcheck:0:42 "):
        with pytest.raises(ConfigError, match="PIPELINE:PARTITION:OFFSET"):
            LetterId.of(wrong)


def test_the_table_is_aligned_and_one_line_a_letter() -> None:
    lines = table([stored(7), stored(12_345, cause="two\nlines", path="", request="", stage="egress")])
    assert len(lines) == 3
    starts = [lines[0].index(heading) for heading in ("WHEN", "STAGE", "REQUEST", "PATH", "ORIGIN", "RECORD", "CAUSE")]
    for line in lines[1:]:
        assert all(line[at - 1] == " " and line[at] != " " for at in starts)
    assert lines[1].split() == [
        *("factcheck:0:7", "2030-03-17", "17:46:40", "claims", REQUEST, "0/1"),
        *("chunks.factcheck.claims-3@41", "120", "B", "malformed", "path"),
    ]
    assert lines[2].endswith("two lines")


def test_the_fields_are_json_without_the_record_and_its_key() -> None:
    said = json.dumps(fields(stored(7, record=b"what the user said", key="what the user said")))
    assert "user" not in said
    assert json.loads(said) == {
        "id": "factcheck:0:7",
        "at": "2030-03-17T17:46:40.123+00:00",
        "stage": "claims",
        "request": REQUEST,
        "path": "0/1",
        "topic": "chunks.factcheck.claims",
        "partition": 3,
        "offset": 41,
        "record_bytes": 120,
        "cause": "malformed path",
        "trace": "",
    }


def test_a_letter_of_a_function_that_raised_says_where() -> None:
    trace = '  File "summaries.py", line 7, in page\n    raise KeyError(x)\nKeyError'
    shown = show_lines(stored(7, cause="page raised KeyError", trace=trace), record=False)
    assert shown[-4:] == ["raised at", *trace.splitlines()]
    assert show_lines(stored(7), record=False)[-1].startswith("key")


def test_what_was_sent_again_is_told() -> None:
    letter = LetterId("factcheck", 0, 7)
    record = Redriven(letter, "chunks.factcheck.claims", 3, 99, REQUEST)
    assert told(record) == "factcheck:0:7: its record was sent again (chunks.factcheck.claims-3@99)"
    assert "its home will drop it" in told(record._replace(past=True))
    request = Redriven(letter, "requests.factcheck", 1, 5, REQUEST, again="0198-new")
    assert told(request) == (f"factcheck:0:7: request {REQUEST} was sent again as 0198-new (requests.factcheck-1@5)")


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("90s", 910_000),
        ("15m", 100_000),
        ("2h", 0),
        ("1970-01-01T00:15", 900_000),
        ("1970-01-01T01:15+01:00", 900_000),
    ],
)
def test_since(text: str, at_ms: int) -> None:
    assert since_of(text, 1_000.0, "--since") == at_ms


def test_since_may_be_days_ago() -> None:
    assert since_of("3d", time.time(), "--since") == pytest.approx((time.time() - 259_200) * 1000, abs=1_000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--since", "yesterday"], "--since yesterday: expected 90s"),
        (["list", "--pipeline", "nonsense"], "known: factcheck"),
        (["list", "--limit", "0"], "--limit"),
        (["show", "claims/3"], "'claims/3' is no letter's id"),
        (["redrive"], "ID"),
        (["redrive", "factcheck:0:1", "1"], "'1' is no letter's id"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["dead-letters", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("alto-streams: ")
    assert said in error
    assert error.count("\n") == 1
