#!/usr/bin/env bash
# json_repair 0.64.6 keeps only the last of several objects that have the same keys.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: given JSON objects one after the other, `json_repair.loads` returns a list of them if their keys differ. If
#   their keys are the same it returns the last one alone, as a dict. Arrays of such objects go the same way. A comma
#   between the objects changes the outcome: then all are kept. Nothing is raised or logged.
# Seen: three claims on three lines came back as {'claim': 'c'}; with commas as all three.
# Why a good guess is wrong: a good engineer expects all three, because the library reads what models write, models write
#   one record after another in the same form, and objects with different keys are all kept. What comes back is valid, so
#   nothing tells that two of three records are gone.
# Remedy: cut the text into lines or objects first, and repair each alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile json-repair==0.64.6

"$folder/venv/bin/python" - <<'EOF'
import sys

import json_repair

TEXTS = {
    "lines, same keys": '{"claim": "a"}\n{"claim": "b"}\n{"claim": "c"}',
    "lines, other keys": '{"claim": "a"}\n{"verdict": "b"}',
    "numbered lines": '1. {"claim": "a"}\n2. {"claim": "b"}',
    "arrays": '[{"claim": "a"}]\n[{"claim": "b"}]',
    "commas, same keys": '{"claim": "a"},\n{"claim": "b"},\n{"claim": "c"}',
}
EXPECTED = {
    "lines, same keys": {"claim": "c"},
    "lines, other keys": [{"claim": "a"}, {"verdict": "b"}],
    "numbered lines": {"claim": "b"},
    "arrays": [{"claim": "b"}],
    "commas, same keys": [{"claim": "a"}, {"claim": "b"}, {"claim": "c"}],
}
seen = {name: json_repair.loads(text) for name, text in TEXTS.items()}
for name, value in seen.items():
    print(f"{name:18} {TEXTS[name]!r} -> {value}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
