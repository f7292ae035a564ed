"""Everything that must hold: `python tools/check.py lint` or `all`. Goes on after a failure, then fails.

The tests on real servers mostly wait (for sessions to end, for workers to come back), so two runs of them go side by
side, and all that only computes runs beside them at a low priority: servers that are late would fail tests for nothing.
The last steps are left to whichever is done first. What the tests on servers say is shown once the rest is over. Each
step is timed, and the whole of it: whoever waits should see where the time goes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
LINT: dict[str, list[Path | str]] = {
    "lint": [BIN / "ruff", "check", "."],
    "format": [BIN / "ruff", "format", "--check", "."],
    "types": [BIN / "mypy", "--strict", "-p", "alto_streams", "-p", "loadtest"],
    "import contracts": [BIN / "lint-imports"],
}
# The layers and files of a step share one run of pytest, and so its servers.
TESTS = {
    "tests": ("unit", "engines", "properties", "simulation", "gateway"),
    "tests on brokers": ("broker",),
    "tests of systems": ("e2e",),
    "local model": ("e2e/test_local_model.py",),
    "commands": ("e2e/test_cli.py", "e2e/test_joins.py"),
}
WAITING = ("tests on brokers", "tests of systems")
ASIDE: list[Path | str] = ["nice", "-n", "10"]
LOOK_S = 0.2


@dataclass(frozen=True)
class Step:
    """What a command came to."""

    name: str
    ok: bool
    took_s: float


def run(name: str, command: list[Path | str], out: IO[bytes] | None = None) -> Step:
    """Runs it to its end, without standard input.

    What it says, below its name, goes to `out`, or where this program's output goes.
    """
    began, shown = time.monotonic(), out or sys.stdout.buffer
    shown.write(f"\n===== {name} =====\n".encode())
    shown.flush()
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT if out else None, check=False
    )
    return Step(name, done.returncode == 0, time.monotonic() - began)


def pytest(name: str, folder: Path) -> list[Path | str]:
    """The tests of a step in one run, which leaves its results in the folder; for each run a cache of its own.

    A file that another step names is not run with its layer.
    """
    files = {place for places in TESTS.values() for place in places if place.endswith(".py")}
    others = [f"--ignore=tests/{place}" for place in sorted(files - set(TESTS[name]))]
    own = [f"--junit-xml={folder / name}.xml", "-o", f"cache_dir=.pytest_cache/{name.replace(' ', '-')}"]
    chosen = [f"tests/{place}" for place in TESTS[name]]
    return [BIN / "python", "-m", "pytest", "-q", "--durations=10", *own, *others, *chosen]


def show(path: Path, is_over: Callable[[], bool]) -> None:
    """What a file holds and what comes, until it is over."""
    with path.open("rb") as said:
        while True:
            last = is_over()
            shutil.copyfileobj(said, sys.stdout.buffer)
            sys.stdout.flush()
            if last:
                return
            time.sleep(LOOK_S)


def everything(folder: Path) -> list[Step]:
    """The checks of the text and the tests that need no patience, beside the tests on servers; then what is left."""
    first, *rest = (name for name in TESTS if name not in WAITING)
    left = deque(rest)

    def taken() -> Iterator[tuple[str, list[Path | str]]]:
        while True:
            try:
                name = left.popleft()
            except IndexError:
                return
            yield name, pytest(name, folder)

    def on_servers(waiting: str) -> list[Step]:
        with (folder / waiting).open("wb") as out:
            return [run(name, command, out) for name, command in chain([(waiting, pytest(waiting, folder))], taken())]

    with ThreadPoolExecutor(len(WAITING)) as pool:
        beside: list[Future[list[Step]]] = [pool.submit(on_servers, waiting) for waiting in WAITING]
        own = chain(LINT.items(), [(first, pytest(first, folder))], taken())
        steps = [run(name, [*ASIDE, *command]) for name, command in own]
        for waiting, future in zip(WAITING, beside, strict=True):
            show(folder / waiting, future.done)
            steps += future.result()
    return steps


def results(folder: Path) -> Iterator[tuple[str, str]]:
    """Every test that was run, with what came of it."""
    for path in sorted(folder.glob("*.xml")):
        for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314 - our own
            kinds = {each.tag for each in case}
            came = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
            yield f"{case.get('classname')}::{case.get('name')}", {"failure": "failed"}.get(came, came)


def main(which: str) -> int:
    """0 if every step passed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        steps = [run(*each) for each in LINT.items()] if which == "lint" else everything(Path(folder))
        found = list(results(Path(folder)))
    print("\n===== times =====")
    for step in steps:
        print(f"{step.name:<18}{step.took_s:7.1f} s  {'ok' if step.ok else 'FAILED'}")
    print(f"{'total':<18}{time.monotonic() - began:7.1f} s")
    for test, came in found:
        if came in ("failed", "error"):
            print(f"{came.upper()} {test}")
    if found:
        counts = Counter(came for _, came in found)
        said = ", ".join(f"{counts[each]} {each}" for each in ("failed", "error", "passed", "skipped") if counts[each])
        print(f"{said} in {time.monotonic() - began:.2f}s")
    return 0 if all(step.ok for step in steps) else 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["lint"], ["all"]):
        sys.exit("usage: python tools/check.py lint|all")
    sys.exit(main(sys.argv[1]))
