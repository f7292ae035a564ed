"""Installs the wheel into an empty environment, as a stranger does, and runs `alto-streams demo` in an empty folder.

    python tools/try_install.py            # pip, from whichever index it is set to; some minutes, most of it downloads
    python tools/try_install.py --source   # `pip install .` instead of the wheel

Exits with 1 if the demo does not end well.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Each step with its time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", action="store_true", help="install the checkout instead of a wheel made of it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alto-install-") as made:
        place = Path(made)
        python = place / "env" / "bin" / "python"
        venv.create(place / "env", with_pip=True)
        what = ROOT
        if not given.source:
            step("the wheel", [python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place / "dist", ROOT], place)
            (what,) = (place / "dist").glob("*.whl")
        step("installing", [python, "-m", "pip", "install", "-q", what], place)
        empty = place / "empty"
        empty.mkdir()
        return step("the demo", [python.with_name("alto-streams"), "demo"], empty, place / "cache")


def step(name: str, command: list[str | Path], folder: Path, cache: Path | None = None) -> int:
    """One command; ends this one if it fails, but for the last."""
    env = {each: value for each, value in os.environ.items() if not each.startswith(("ALTO_", "PYTHON"))}
    if cache is not None:
        env["XDG_CACHE_HOME"] = str(cache)  # whatever was fetched before must not help
    began = time.monotonic()
    code = subprocess.run(command, cwd=folder, env=env, check=False).returncode  # noqa: S603
    print(f"--- {name}: {time.monotonic() - began:.0f} s, exit code {code}", flush=True)
    if code and cache is None:
        sys.exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
