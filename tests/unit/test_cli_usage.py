"""Wrong usage: one clear line, the right exit code, and nothing started or sent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alto_streams import __version__
from alto_streams.cli import run_command
from alto_streams.cli.options import engine_target, gateways
from alto_streams.cli.requests import line_of
from alto_streams.cli.rows import Row, Rows, fitted, read_objects
from alto_streams.cli.worker import role_of
from alto_streams.define.forms import form_of
from alto_streams.define.loading import load_pipelines
from alto_streams.errors import ConfigError

PIPELINES = load_pipelines(["alto_streams.pipelines.factcheck"])
QUESTION = form_of("factcheck", PIPELINES["factcheck"].request)


COMMANDS = "demo up ask run record import-trace replay diff cancel worker gateway"
GROUPS = "requests topics dead-letters scheduler engines"


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS.split(), *GROUPS.split(), "topics infer", "requests list"])
def test_help_says_what_a_command_is_for(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*command.split(), option]) == 0
    assert "Usage: alto-streams" in capsys.readouterr().out


@pytest.mark.parametrize("group", ["", *GROUPS.split()])
def test_a_bare_group_prints_its_help_where_output_goes(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(group.split()) == 0
    out, error = capsys.readouterr()
    assert out.startswith(f"Usage: alto-streams {group}".rstrip())
    assert "Commands:" in out
    assert error == ""


@pytest.mark.parametrize(
    ("words", "wanted"), [("alto-streams dea", "dead-letters"), ("alto-streams cancel --ga", "--gateway")]
)
def test_a_shell_completes_commands_and_options(words: str, wanted: str) -> None:
    asked = {"_ALTO_STREAMS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [Path(sys.executable).with_name("alto-streams")], env=os.environ | asked, capture_output=True, text=True
    )
    assert (done.stdout.split(), done.returncode) == ([wanted], 0), done.stderr


def test_a_request_is_listed_in_one_line() -> None:
    made = {"id": "01a1", "pipeline": "pages", "status": "failed", "created_ms": 0, "done_ms": 2500, "cause": "why"}
    assert line_of(made) == "01a1  failed     pages  1970-01-01 00:00:00Z     2.5 s  why"
    assert line_of({"id": "01a1", "pipeline": None, "status": "accepted", "created_ms": 0}).endswith("00:00:00Z")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"alto-streams {__version__}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "nonsense"),
        (["ask"], "question"),
        (["ask", "Why?", "--mode", "sideways"], "sideways"),
        (["ask", "Why?", "--gateway", "localhost:8600"], "http://127.0.0.1:8600"),
        (["ask", "Why?", "--pipeline", "summaries", "--stop-at-first-false"], "only the pipeline factcheck"),
        (["cancel"], "id"),
        (["cancel", "x", "claims"], "needs its path as well"),
        (["demo", "--engine", "abacus"], "--engine: 'abacus' is no engine; accepted are: openai:http://host:port/v1"),
        (["up", "--engine", "openai:h/v1#m"], "--engine: 'openai:h/v1#m' names no HTTP address"),
        (["up", "--engine", "scripted"], "add --script FILE"),
        (["up", "--corpus", "/nowhere"], "no such folder"),
        (["run", "--input", "/nowhere.jsonl", "--out", "x"], "/nowhere.jsonl: cannot be read"),
        (["record"], "--out"),
        (["record", "--out", "x.csv"], "ends in .jsonl or .jsonl.gz or .parquet"),
        (["record", "--out", "x.jsonl", "--pipeline", "nope"], "known: factcheck"),
        (["record", "--out", "x.jsonl", "--from", "tomorrow"], "or offsets: 120, or 0:120,1:98"),
        (["import-trace", "/nowhere.jsonl", "--out", "x.jsonl"], "/nowhere.jsonl: cannot be read"),
        (["diff", "/nowhere.jsonl", "/nowhere.jsonl"], "/nowhere.jsonl: cannot be read"),
        (["engines", "check", "nonsense"], "known: chat, judge"),
        (["worker"], "name one of a stage, --model NAME, --egress or --scheduler"),
        (["worker", "nonsense"], "answer, claims, queries, evidence, verdict, report"),
        (["worker", "--model", "nonsense"], "chat, judge"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("alto-streams: ")
    assert said.lower() in error.lower()
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": "a", "prompt": "Why?"}\n{"id": "b"\n', "line 2: "),
        ('{"id": "a", "prompt": "Why?"}\n\n{"id": "b"}\n', "line 3: .*`prompt`"),
        ('{"id": 7, "prompt": "Why?"}\n', "line 1: `id` is no text"),
        ('{"prompt": "Why?"}\n', "line 1: `id` is missing"),
        ('{"id": "a", "prompt": " "}\n', "line 1: `prompt` is empty"),
        ('{"id": "a", "input": {"prompt": ""}}\n', "line 1: `prompt` is empty"),
        ('{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}\n', "line 2: id 'a' stands in line 1"),
        ("\n", "it holds no request"),
    ],
)
def test_a_malformed_line_is_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        fitted(read_objects(path), QUESTION)


def test_other_fields_of_a_row_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "a", "prompt": "Why?", "label": true}\n')
    assert fitted(read_objects(path), QUESTION) == Rows([Row("a", {"prompt": "Why?"})], ["label"])


def test_roles() -> None:
    assert role_of("claims", None, False, None, PIPELINES) == "stage:factcheck.claims"
    assert role_of(None, "judge", False, None, PIPELINES) == "model:judge"
    assert role_of(None, None, True, "factcheck", PIPELINES) == "egress:factcheck"
    assert role_of(None, None, False, None, PIPELINES, scheduler=True) == "scheduler"
    with pytest.raises(ConfigError, match="known: factcheck"):
        role_of("claims", None, False, "other", PIPELINES)


def test_engines(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text("{}")
    assert engine_target("scripted", script) == f"scripted:{script}"
    assert engine_target("openai:http://h:1/v1#m", None) == "openai:http://h:1/v1#m"
    assert engine_target("openai:http://h:1/v1", None) == "openai:http://h:1/v1"  # the first model that it lists
    assert engine_target(None, None) is None
    with pytest.raises(ConfigError, match="only --engine scripted"):
        engine_target("local", script)


def test_vllm_in_the_workers_is_an_engine_like_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--engine: 'vllm:some/model' needs vLLM.*pip install vllm"):
        engine_target("vllm:some/model", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "vllm")
    for target in ("vllm:some/model", f"vllm:{tmp_path}?dtype=float32"):
        assert engine_target(target, None) == target
    with pytest.raises(ConfigError, match="--engine: 'vllm:/nowhere': no such folder"):
        engine_target("vllm:/nowhere", None)


def test_the_default_gateway_is_that_of_this_machine() -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", gateways(None)[0])
    assert gateways(["https://a", "http://b"]) == ["https://a", "http://b"]
