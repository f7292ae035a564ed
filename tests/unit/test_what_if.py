"""Recorded requests in virtual time: the same bytes each time, and what another deployment changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alto_streams.cli import run_command
from alto_streams.cli.simulating import plain_text
from alto_streams.recordings.format import Header, Recorded, Recording, write_recording
from alto_streams.recordings.results import read_results
from alto_streams.wire.records import Mode, Raw

PIPELINE = """
import asyncio, json, random
from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Message

class Ask(Record):
    prompt: str
class Line(Record):
    text: str
class Found(Record):
    text: str
class Page(Record):
    lines: list[str]

pipeline = Pipeline("pages", request=Ask)

@pipeline.generate(model="chat", show="text")
def lines(ask: Ask) -> Prompt[Line]:
    return Prompt([Message("system", "Write.")], ask.prompt, Lines(Line), 200, subject=ask.prompt)

@pipeline.map(show="items")
async def found(line: Line) -> list[Found]:
    await asyncio.sleep(random.random())
    return [Found(line.text.upper())]

@pipeline.gather
def page(founds: Gather[Found]) -> Page:
    return Page([each.text for each in founds])

def script(path):
    texts = json.loads(path.read_text())
    return lambda prompt_class, call: texts.get(call.subject)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages.py").write_text(PIPELINE)
    (tmp_path / "script.json").write_text(json.dumps({f"p{number}": "one line\nand two\n" * 3 for number in range(7)}))
    prompts = [Raw(b'{"prompt":"p%d"}' % (n % 7)) for n in range(200)]
    modes = [Mode.BARRIER, Mode.STREAM, Mode.STREAM]
    requests = [Recorded(f"r{n:03}", n * 40, "pages", each, modes[n % 3]) for n, each in enumerate(prompts)]
    write_recording(tmp_path / "rec.jsonl.gz", Recording(Header(1, "pages", "x", 200, "2030"), requests))
    write_recording(tmp_path / "rec.parquet", Recording(Header(1, "pages", "x", 200, "2031"), requests))
    return tmp_path


def simulated(folder: Path, file: str, out: str, *more: str, hash_seed: str = "0", code: int = 0) -> bytes:
    """The results of a replay in a process of its own."""
    given = [file, "--simulate", "--script", "script.json", "--out", out, *more]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ALTO_")}
    done = subprocess.run(
        [sys.executable, "-m", "alto_streams", "replay", *given],
        cwd=folder,
        env=env | {"ALTO_PIPELINES": "pages", "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == code, done.stderr
    return (folder / out).read_bytes()


def test_two_simulated_replays_are_equal_byte_for_byte(folder: Path) -> None:
    first = simulated(folder, "rec.jsonl.gz", "a.jsonl")
    assert simulated(folder, "rec.parquet", "b.jsonl", hash_seed="1") == first
    header, ran = read_results(folder / "a.jsonl")
    assert header.started is None
    assert [each.id for each in ran] == [f"r{number:03}" for number in range(200)]
    assert {each.status for each in ran} == {"ok"}
    assert json.loads(bytes(ran[0].result)) == {"lines": ["ONE LINE", "AND TWO"] * 3}
    assert all(0 < (each.ttft_s or 0) <= (each.first_item_s or 0) <= (each.done_s or 0) for each in ran)
    assert run_command(["diff", f"{folder}/a.jsonl", f"{folder}/b.jsonl", "--tolerance", "0"]) == 0
    spacing = ("--seed", "2", "--rate", "3", "--limit", "20")
    other = simulated(folder, "rec.jsonl.gz", "c.jsonl", "--hop-ms", "50", *spacing)

    assert other != first
    header, slow = read_results(folder / "c.jsonl")
    assert (header.spacing, len(slow)) == ("rate 3, poisson, seed 2", 20)
    assert run_command(["diff", f"{folder}/a.jsonl", f"{folder}/c.jsonl"]) == 1


def test_calls_that_no_script_knows_get_plain_text(folder: Path) -> None:
    (folder / "script.json").write_text("{}")
    simulated(folder, "rec.jsonl.gz", "a.jsonl", "--limit", "3", code=1)
    simulated(folder, "rec.jsonl.gz", "b.jsonl", "--limit", "3", "--output-tokens", "30")
    found = [len(json.loads(bytes(each.result))["lines"]) for each in read_results(folder / "b.jsonl")[1]]
    assert found == [3, 3, 3], "twelve words a line"
    assert len(plain_text(30)) == 30


def test_a_what_if_gives_the_same_bytes_and_says_what_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what_if = ("--cached-classes", "1", "--engine-speeds", "1,1,0.5", "--lose-engine", "0@4", "--hop-ms", "5")
    first = simulated(folder, "rec.jsonl.gz", "a.jsonl", "--policy", "round_robin", *what_if)
    assert simulated(folder, "rec.jsonl.gz", "b.jsonl", "--policy", "round_robin", *what_if, hash_seed="7") == first
    aware = simulated(folder, "rec.jsonl.gz", "c.jsonl", "--policy", "prompt_aware", *what_if)
    assert simulated(folder, "rec.jsonl.gz", "d.jsonl", *what_if, hash_seed="7") == aware != first, "ALTO_POLICY's"
    header, ran = read_results(folder / "a.jsonl")
    assert header.system.startswith("simulator: 4 engines, round_robin, hop 0.005 s, seed 1, speeds 1,1,0.5, 1 classes")
    assert "engine 0 lost at 4 s" in header.system
    assert header.classes["pages.lines"].calls >= len(ran) == 200
    assert {each.status for each in ran} == {"ok"}, "an engine was lost, and no request"
    assert run_command(["diff", f"{folder}/a.jsonl", f"{folder}/c.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "prefix tokens cached" in out
    assert out.endswith("0 of 200 requests differ\n")


def test_deadlines_count_in_virtual_time_unless_they_are_left_out(folder: Path) -> None:
    requests = [Recorded("a", 0, "pages", Raw(b'{"prompt":"p1"}'), within_s=0.05)]
    write_recording(folder / "one.jsonl", Recording(Header(1, "pages", "x", 1, "2030"), requests))
    simulated(folder, "one.jsonl", "a.jsonl", code=1)
    (late,) = read_results(folder / "a.jsonl")[1]
    assert (late.status, round(late.done_s or 0, 2)) == ("failed", 0.05)
    simulated(folder, "one.jsonl", "b.jsonl", "--no-deadlines")
    assert read_results(folder / "b.jsonl")[1][0].status == "ok"


SIMULATED = ["rec.jsonl.gz", "--simulate", "--output-tokens", "9"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl: cannot be read: No such file"),
        (["rec.jsonl.gz", "--out", "x.csv"], "--out x.csv: expected a name that ends in .jsonl or .jsonl.gz"),
        (["rec.jsonl.gz", "--speed", "2", "--rate", "3"], "--speed and --rate: give one of them"),
        (["rec.jsonl.gz", "--engines", "2"], "--engines: only with --simulate"),
        (["rec.jsonl.gz", "--simulate", "--gateway", "http://127.0.0.1:1"], "--gateway: not with --simulate"),
        (["rec.jsonl.gz", "--gateway", "localhost"], "expected an address such as"),
        (["rec.jsonl.gz", "--policy", "hash"], "--policy: only with --simulate"),
        ([*SIMULATED, "--policy", "luck"], "--policy: there is no policy 'luck'; known: round_robin, hash, least"),
        ([*SIMULATED, "--engine-speeds", "1,fast"], "--engine-speeds 1,fast: expected at most 4 speeds"),
        ([*SIMULATED, "--engine-speeds", "1,0"], "expected at most 4 speeds from 0.01 to 100, e.g. 1,1,0.5"),
        ([*SIMULATED, "--engine-speeds", "1,1", "--engines", "1"], "at most 1 speeds"),
        ([*SIMULATED, "--lose-engine", "4@1"], "numbered from 0 to 3 (--engines)"),
        ([*SIMULATED, "--lose-engine", "2"], "--lose-engine 2: expected ENGINE@SECONDS, e.g. 3@30"),
        ([*SIMULATED, "--lose-engine", "0@1", "--engines", "1"], "at least one engine has to be left"),
        (["rec.jsonl.gz", "--simulate"], "add --script FILE, or --output-tokens N"),
        (["rec.jsonl.gz", "--simulate", "--script", "nope"], "--script nope: no such file"),
        (["rec.jsonl.gz", "--simulate", "--output-tokens", "9"], "--pipeline pages: there is none of that name"),
        (
            ["rec.jsonl.gz", "--simulate", "--output-tokens", "9", "--pipeline", "factcheck", "--limit", "0"],
            "--limit",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert run_command(["replay", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
