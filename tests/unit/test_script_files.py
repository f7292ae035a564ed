"""Scripts of any pipeline: the documented example, how calls are found, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alto_streams.cli import run_command
from alto_streams.errors import ConfigError
from alto_streams.models.registry import script_of
from alto_streams.models.script_files import read_script
from alto_streams.pipelines.factcheck import pipeline as factcheck
from alto_streams.recordings.format import Header, Recorded, Recording, write_recording
from alto_streams.recordings.results import read_results
from alto_streams.settings import Settings, settings
from alto_streams.wire.records import Call, Message, Raw
from tests.readme import write_summaries

DOCS = Path(__file__).parents[2] / "docs" / "scripts.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """README's pipeline and the script that the docs show for it, where the command is run."""
    write_summaries(tmp_path)
    (shown,) = re.findall(r"```jsonl\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    (tmp_path / "volcanoes.jsonl").write_text(shown)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALTO_PIPELINES", "summaries")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    sys.modules.pop("summaries", None)
    settings.cache_clear()


def call(about: str) -> Call:
    return Call([Message("user", "x")], 9, subject=about)


def test_the_documented_script_plays_a_pipeline_of_ones_own(folder: Path) -> None:
    requests = [
        Recorded(f"r{n}", n, "summaries", Raw(json.dumps({"name": name}).encode()))
        for n, name in enumerate(["volcanoes", "glaciers"])
    ]
    write_recording(folder / "rec.jsonl", Recording(Header(1, "summaries", "x", 2, "2030"), requests))
    given = ["rec.jsonl", "--simulate", "--script", "volcanoes.jsonl", "--out", "ran.jsonl"]
    assert run_command(["replay", *given]) == 1
    known, other = sorted(read_results(folder / "ran.jsonl")[1], key=lambda each: each.id)
    assert json.loads(bytes(known.result)) == {
        "answers": [
            "Gas in the magma expands.",
            "It pushes the magma out.",
            "From 700 to 1,200 degrees Celsius.",
            "I do not know.",
        ]
    }
    assert (known.status, other.status) == ("ok", "failed")  # no line is for the questions about glaciers


@pytest.mark.parametrize("ending", ["", "\r"])
def test_lines_end_at_line_feeds_only_and_a_byte_order_mark_is_skipped(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "script.jsonl"
    lines = [
        '{"stage": "answer", "about": "a\u2028b\u0085c", "writes": "x\u2029y"}',
        '{"stage": "claims", "writes": ""}',
    ]
    path.write_text("\ufeff" + "".join(f"{line}{ending}\n" for line in lines), encoding="utf-8", newline="")
    script = script_of(path, Settings())
    assert script("factcheck.answer", call("a\u2028b\u0085c")) == "x\u2029y"
    assert script("factcheck.claims", call("anything")) == ""
    assert script("factcheck.answer", call("another")) is None


def test_tokens_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('{"stage": "factcheck.answer", "writes": ["It", " is", " so."]}\n')
    assert read_script(path, [factcheck])("factcheck.answer", call("")) == ["It", " is", " so."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"stage": "anser", "writes": ""}', "line 1: field stage: there is no generate stage 'anser'; known: answer$"),
        ('{"stage": "evidence", "writes": ""}', "no generate stage 'evidence'"),  # a map
        ('{"stage": "answer", "abuot": "x", "writes": ""}', "line 1: .*unknown field `abuot`.*expected a line such as"),
        ('{"stage": "answer", "writes": 3}', r"line 1: Expected `str \| array`"),
        (
            '{"stage": "answer", "writes": "a"}\n{"stage": "factcheck.answer", "writes": "b"}',
            "line 2: line 1 has another",
        ),
        (
            '{"stage": "answer", "about": "x", "writes": "a"}\n' * 2
            + '{"stage": "answer", "about": "x", "writes": ""}',
            "3: line 1",
        ),
        ("", "it is empty; a script has lines such as"),
    ],
)
def test_a_malformed_script_is_refused_by_its_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        script_of(path, Settings())


def test_a_file_that_no_pipeline_reads_is_told_the_form_of_a_script(folder: Path) -> None:
    (folder / "other.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(ConfigError, match=r'no script, whose lines are such as \{"stage": "answers".*docs/scripts.md'):
        script_of(folder / "other.jsonl", settings())
