"""The examples: each says what it promises, in virtual time, on the script beside it, with the public API only."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alto_streams.define.loading import load_pipelines
from alto_streams.models.registry import script_of
from alto_streams.models.simulated import Timing
from alto_streams.settings import Settings
from alto_streams.simulator import SimulatedRequest, SimulatedSystem, simulate
from tests.readme import summaries

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
PARAGRAPHS = ["The mountain woke on Monday.", "Nobody was hurt.", "The road is closed until spring."]
SLOW = Timing(base_s=0.5)  # a token takes half a second


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLES)
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def ran(name: str, request: dict[str, Any], **system: Any) -> tuple[Any, dict[str, Any]]:
    """How one request ended, and its result."""
    pipeline = load_pipelines([name])[name]
    script = script_of(EXAMPLES / f"{name}.jsonl", Settings(pipelines=[name]))
    given = SimulatedRequest(0, 0.0, json.dumps(request).encode())
    (outcome,) = simulate(pipeline, [given], SimulatedSystem(script, **system))
    return outcome, json.loads(bytes(outcome.result))


def test_summaries_is_the_one_of_the_readme() -> None:
    assert (EXAMPLES / "summaries.py").read_text() == summaries()


def test_summaries_answers_each_question() -> None:
    _, result = ran("summaries", {"name": "volcanoes"})
    assert result["answers"][:2] == ["Gas in the magma expands.", "It pushes the magma out."]
    assert len(result["answers"]) == 4


def test_glossary_looks_each_term_up() -> None:
    _, result = ran("glossary", {"text": "Lava cools to basalt."})
    assert list(result["meanings"]) == ["lava", "basalt"]
    _, result = ran("glossary", {"text": "Another text."})
    assert (list(result["meanings"]), result["unknown"]) == (["lava"], ["pahoehoe"])


def test_review_ends_at_the_first_objection() -> None:
    outcome, result = ran("review", {"text": "The moon is made of cheese."}, timing=SLOW)
    assert result.pop("read") < 5
    assert result == {"accepted": False, "objection": "The moon is not made of cheese.", "whole": False}
    assert outcome.status == "ok"


@pytest.mark.parametrize("lost", [(), ((0, 12.0),)])
def test_headlines_are_whole_or_none(lost: tuple[tuple[int, float], ...]) -> None:
    _, result = ran("headlines", {"paragraphs": PARAGRAPHS}, engines=2, lost=lost)
    assert result == {"headlines": ["Mountain wakes after a hundred years", "All are safe"], "missing": 1}


def test_headlines_leaves_out_what_takes_too_long() -> None:
    _, result = ran("headlines", {"paragraphs": PARAGRAPHS}, timing=Timing(base_s=30.0))
    assert result == {"headlines": [], "missing": 3}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_documented_and_uses_the_public_names_only(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    tree = ast.parse(text)
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {each for each in imported if each and each.startswith("alto_streams")} == {"alto_streams"}
    assert len(text.splitlines()) <= 80
    assert name == "summaries" or ast.get_docstring(tree)
    assert f"[{name}.py]({name}.py)" in (EXAMPLES / "README.md").read_text()


def test_mypy_finds_nothing(tmp_path: Path) -> None:
    given = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", *(f"{name}.py" for name in NAMES)]
    said = subprocess.run([sys.executable, "-m", "mypy", *given], cwd=EXAMPLES, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
