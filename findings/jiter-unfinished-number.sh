#!/usr/bin/env bash
# jiter 0.19.0 reads a number that is still being written as a finished one, though it drops an unfinished string.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: `jiter.from_json(text, partial_mode=True)` reads JSON that is cut off. It leaves out a string whose closing
#   quote has not come, a word like `tr`, and a number cut behind its point or exponent sign. It returns a number cut
#   between two digits as if it were whole.
# Seen: of {"year": 1789} and [0.85] cut after each character, the values in order were 1, 17, 178, 1789 and 0, 0.8, 0.85.
# Why a good guess is wrong: a good engineer expects that partial_mode=True gives only values that can no longer change,
#   because it drops the unfinished string in the same place, and the form that keeps such strings has a name of its own
#   ("trailing-strings"). Whoever acts on a field as soon as it is there acts on the year 1, or on a confidence of 0.
# Remedy: take a value only once another key, or its closing bracket, stands behind it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile jiter==0.19.0

"$folder/venv/bin/python" - <<'EOF'
import sys

import jiter


def values(text):
    """What a reader of the growing text is given, each once."""
    seen = []
    for end in range(1, len(text) + 1):
        value = jiter.from_json(text[:end].encode(), partial_mode=True)
        if not seen or value != seen[-1]:
            seen.append(value)
    return seen


EXPECTED = {
    "string": [{}, {"claim": "Paris"}],
    "integer": [{}, {"year": 1}, {"year": 17}, {"year": 178}, {"year": 1789}],
    "fraction": [[], [0], [], [0.8], [0.85]],
}
seen = {
    "string": values('{"claim": "Paris"}'),
    "integer": values('{"year": 1789}'),
    "fraction": values("[0.85]"),
}
for name, value in seen.items():
    print(f"{name:9} {value}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
