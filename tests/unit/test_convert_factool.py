"""FacTool's published files become recordings; what is of another form is refused by line and field."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alto_streams.pipelines.factcheck.script import load_rows
from loadtest.reference.workload import load_workload
from tools.convert_factool import NotFacTool, converted

ROOT = Path(__file__).parents[2]
TREE = {
    "prompt": "How tall does the tree in our yard grow?",
    "response": "It grows to 12 metres.\\n\\nSome say 14.",
    "claims": [
        {"claim": "The tree grows to 12 metres", "label": True},
        {"claim": "Some say that the tree grows to 14 metres", "label": False},
    ],
    "label": False,
    "entry_point": None,
}
CAT = {"prompt": "Is the cat in?", "response": "Miau, già.", "claims": [], "label": True, "entry_point": None}


def published(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def convert(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.convert_factool", str(source), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_published_file_becomes_a_recording(tmp_path: Path) -> None:
    source, target = tmp_path / "some_qa.jsonl", tmp_path / "recording.jsonl"
    source.write_text(published(TREE, CAT))
    done = convert(source, target)
    assert (done.returncode, done.stdout) == (0, f"{target}: 2 rows, 2 claims\n"), done.stderr
    tree, cat = load_rows(target)
    assert (tree.id, tree.prompt, tree.response) == ("some_qa-00", TREE["prompt"], TREE["response"])
    assert [(each.claim, each.label) for each in tree.claims] == [
        ("The tree grows to 12 metres", True),
        ("Some say that the tree grows to 14 metres", False),
    ]
    assert (cat.id, cat.response, cat.claims) == ("some_qa-01", "Miau, già.", [])
    assert [json.loads(line)["label"] for line in target.read_text().splitlines()] == [False, True]
    assert [row.id for row in load_workload(target)] == ["some_qa-00"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {**TREE, "claims": ["The tree grows"]},
            "line 2, claim 1: an object with claim and label is expected, not str",
        ),
        ({**TREE, "claims": [{"paper_title": "Trees", "label": True}]}, "line 2, claim 1: claim is missing"),
        (
            {**TREE, "claims": [{"claim": "It grows", "label": "yes"}]},
            "line 2, claim 1: label: bool is expected, not str",
        ),
        ({"prompt": "What?", "responses_and_factuality": []}, "line 2: response is missing; only FacTool's sets"),
        ({**TREE, "response": 0}, "line 2: response: str is expected, not int"),
        ([TREE], "line 2: an object is expected, not list"),
        (CAT, "line 2: prompt: line 1 asks the same"),
    ],
)
def test_what_is_of_another_form_is_named(row: Any, said: str) -> None:
    with pytest.raises(NotFacTool) as refused:
        list(converted(published(CAT, row), "qa"))
    assert str(refused.value).startswith(said)


def test_the_command_says_it_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "broken.jsonl", tmp_path / "recording.jsonl"
    source.write_text(published(TREE) + "{'prompt'\n")
    for file, said in ((source, f"{source}, line 2: no JSON: "), (tmp_path / "none.jsonl", "convert_factool: ")):
        done = convert(file, target)
        assert done.returncode == 1
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == 1
        assert not target.exists()
