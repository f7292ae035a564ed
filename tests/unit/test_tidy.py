"""The style of the tree, kept by bounds that may only be made tighter."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES, FUNCTION_LINES = 300, 60
# Where a person reads standard output, or another process reads it line by line.
MAY_PRINT = ("alto_streams/cli/", "alto_streams/local/", "alto_streams/models/local.py", "loadtest/", "tools/")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(wo" r"rk|ho" r"me|ro" r"ot)/[\w.]")
# What installs must take its packages from wherever the machine is set up to take them.
INSTALLING = ("requirements.lock", "pyproject.toml", "Makefile", "Dockerfile", ".ci/run")
SOURCE_OF_PACKAGES = re.compile(r"://|--(extra-)?index|find-links")
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".xml", ".cfg", ".ini", ""}


def tracked() -> list[Path]:
    """Every file that belongs to the project: known to git, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


FILES = tracked()
SOURCES = [path for path in FILES if path.suffix == ".py"]
PACKAGES = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("alto_streams", "loadtest")]
TEXTS = [path for path in FILES if path.suffix in TEXT and "corpus" not in path.parts]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(path: Path, wanted: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == wanted:
            yield node.lineno


def lines_with(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{name(path)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_tree_is_seen() -> None:
    assert len(PACKAGES) > 40
    assert ROOT / "pyproject.toml" in FILES


def test_files_are_short() -> None:
    long = {name(path): count for path in SOURCES if (count := len(path.read_text().splitlines())) > FILE_LINES}
    assert not long, f"over {FILE_LINES} lines: {long}; give the second idea a file of its own"


def test_functions_are_short() -> None:
    long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > FUNCTION_LINES:
                    long[f"{name(path)}:{node.name}"] = count
    assert not long, f"over {FUNCTION_LINES} lines: {long}"


def test_nothing_is_left_for_later() -> None:
    assert not lines_with(UNFINISHED, TEXTS)


def test_no_bare_except() -> None:
    bare = [
        f"{name(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare


def test_only_programs_print() -> None:
    quiet = [path for path in PACKAGES if not name(path).startswith(MAY_PRINT)]
    assert not [f"{name(path)}:{line}" for path in quiet for line in calls(path, "print")]


def test_the_event_loop_is_never_put_to_sleep() -> None:
    # These two have no event loop: one polls for other processes, the other is a process that only watches.
    blocking = {"alto_streams/local/ping.py", "alto_streams/local/guard.py"}
    paths = [path for path in PACKAGES if name(path).startswith("alto_streams/") and name(path) not in blocking]
    assert not [f"{name(path)}:{line}" for path in paths for line in calls(path, "time.sleep")]


def test_no_test_waits_by_sleeping() -> None:
    tests = [path for path in SOURCES if name(path).startswith("tests/")]
    assert not [f"{name(path)}:{line}" for path in tests for line in calls(path, "time.sleep")]


def test_nothing_names_this_machine_or_a_registry() -> None:
    assert not lines_with(MACHINE_PATH, TEXTS)
    installing = lines_with(SOURCE_OF_PACKAGES, [ROOT / file for file in INSTALLING])
    assert not [line for line in installing if "//127.0.0.1" not in line]


def test_every_module_says_what_it_is() -> None:
    bodies = [path for path in PACKAGES if path.read_text().strip()]
    assert not [name(path) for path in bodies if not ast.get_docstring(ast.parse(path.read_text()))]


def test_the_architecture_names_files_that_exist() -> None:
    page = ROOT / "ARCHITECTURE.md"
    if not page.exists():
        pytest.skip("there is no ARCHITECTURE.md")
    named = set(re.findall(r"`([\w./-]+\.(?:py|yaml|yml|toml|md|html))(?:::?\w+)?`", page.read_text()))
    assert named, "it names no file"
    roots = (ROOT, ROOT / "alto_streams", ROOT / "tests")
    assert not sorted(file for file in named if not any((root / file).exists() for root in roots))
