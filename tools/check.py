"""Everything that must hold, step by step: `python tools/check.py lint` or `all`. Goes on after a failure, then fails.

Each step is timed, and the whole of it; whoever waits for it should see where the time goes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
LINT = {
    "lint": [[BIN / "ruff", "check", "."]],
    "format": [[BIN / "ruff", "format", "--check", "."]],
    "types": [[BIN / "mypy", "--strict", "-p", "alto_streams", "-p", "loadtest"]],
    "import contracts": [[BIN / "lint-imports"]],
}
LAYERS = ("unit", "properties", "simulation", "gateway", "broker", "e2e")


def steps(which: str) -> dict[str, list[list[Path | str]]]:
    """What is run, by name: the checks of the text, and for `all` the tests, the quick ones first."""
    if which == "lint":
        return LINT
    present = [f"tests/{layer}" for layer in LAYERS if list((ROOT / "tests" / layer).glob("test_*.py"))]
    # One run of pytest, so that the layers share the brokers, and its closing line counts every test.
    return {**LINT, "tests": [[BIN / "python", "-m", "pytest", "-q", "--durations=10", *present]]}


def run(command: list[Path | str]) -> bool:
    """Whether it succeeded; it has no standard input to wait for."""
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0  # noqa: S603


def main(which: str) -> int:
    """0 if every step passed."""
    began, times, failed = time.monotonic(), {}, []
    for name, commands in steps(which).items():
        print(f"\n===== {name} =====", flush=True)
        start = time.monotonic()
        results = [run(command) for command in commands]
        if not all(results):
            failed.append(name)
        times[name] = time.monotonic() - start
    print("\n===== times =====")
    for name, took_s in times.items():
        print(f"{name:<18}{took_s:7.1f} s  {'FAILED' if name in failed else 'ok'}")
    print(f"{'total':<18}{time.monotonic() - began:7.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["lint"], ["all"]):
        sys.exit("usage: python tools/check.py lint|all")
    sys.exit(main(sys.argv[1]))
