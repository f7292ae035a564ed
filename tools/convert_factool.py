"""Makes a recording of a file that FacTool has published, such as datasets/knowledge_qa/knowledge_qa.jsonl.

    python -m tools.convert_factool knowledge_qa.jsonl recording.jsonl

FacTool (Chern et al. 2023, github.com/GAIR-NLP/factool) writes one JSON object a line, with `prompt`, `response`,
`claims` (each with its `claim` and its `label`, true or false), `label` and `entry_point`. A recording has the first
four, and an `id` from the name of the file. FacTool's other sets are of another form: their claims are citations or
test cases, or there are none.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class NotFacTool(Exception):
    """A line is none of FacTool's with claims; names the line and the field."""


def converted(text: str, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a recording, from the text of a file and the name that ids begin with.

    Raises:
        NotFacTool: a line is of another form, or asks what a line before it has asked.
    """
    asked: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            row = _row(line, f"line {number}")
            if (before := asked.setdefault(row["prompt"], number)) != number:
                raise NotFacTool(
                    f"line {number}: prompt: line {before} asks the same, and an engine knows a call by it"
                )
            yield {"id": f"{name}-{len(asked) - 1:02}", **row}


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except json.JSONDecodeError as error:
        raise NotFacTool(f"{where}: no JSON: {error}") from None
    if not isinstance(given, dict):
        raise NotFacTool(f"{where}: an object is expected, not {type(given).__name__}")
    row = {
        "prompt": _field(given, "prompt", str, where),
        "response": _field(given, "response", str, where),
        "claims": [
            _claim(each, f"{where}, claim {number}")
            for number, each in enumerate(_field(given, "claims", list, where), 1)
        ],
    }
    labels = [each["label"] for each in row["claims"]]
    return {**row, "label": _field(given, "label", bool, where) if "label" in given else all(labels)}


def _claim(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise NotFacTool(f"{where}: an object with claim and label is expected, not {type(given).__name__}")
    return {"claim": _field(given, "claim", str, where), "label": _field(given, "label", bool, where)}


def _field(given: dict[str, Any], name: str, kind: type, where: str) -> Any:
    if name not in given:
        raise NotFacTool(f"{where}: {name} is missing; only FacTool's sets of questions with claims can be converted")
    if not isinstance(given[name], kind):
        raise NotFacTool(f"{where}: {name}: {kind.__name__} is expected, not {type(given[name]).__name__}")
    return given[name]


def main() -> None:
    """Convert the first file into the second one."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("published", type=Path, help="FacTool's file")
    options.add_argument("recording", type=Path, help="the JSONL file to write")
    given = options.parse_args()
    try:
        rows = list(converted(given.published.read_text(encoding="utf-8"), given.published.stem))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        given.recording.write_text(lines, encoding="utf-8")
    except NotFacTool as error:
        raise SystemExit(f"{given.published}, {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"convert_factool: {error}") from None
    print(f"{given.recording}: {len(rows)} rows, {sum(len(row['claims']) for row in rows)} claims")


if __name__ == "__main__":
    main()
