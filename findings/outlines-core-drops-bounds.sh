#!/usr/bin/env bash
# outlines-core 0.2.14 drops minimum and maximum in silence, and its numbers refuse 1e5, which msgspec writes.
#
# Date: 2026-12-01. Run on Python 3.11, with msgspec 0.23.0.
# Behaviour: `json_schema.build_regex_from_schema` makes a regular expression of a schema. It keeps maxLength, format and
#   enum. It leaves `minimum` and `maximum` out without an error or a warning. A number with an exponent needs a sign and
#   a small e: 1e+5 and 1e-7, but neither 1e5 nor 1E+5.
# Seen: {"type": "integer", "minimum": 0, "maximum": 10} made the expression of {"type": "integer"}, which takes -5.
#   {"type": "number"} refused what `msgspec.json.encode(1e16)` writes: 1e16.
# Why a good guess is wrong: a good engineer expects a constraint to be kept or refused, because an output that may break
#   its own schema defeats the purpose, and because other words of the same schema are kept. With bounds left out, a
#   confidence from 0 to 1 may be anything, on one engine and not on the next.
# Remedy: check bounds of numbers after parsing, whatever the engine promises.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile outlines-core==0.2.14 msgspec==0.23.0

"$folder/venv/bin/python" - <<'EOF'
import json
import re
import sys

import msgspec
from outlines_core.json_schema import build_regex_from_schema


def regex(**schema):
    return build_regex_from_schema(json.dumps(schema))


def accepts(text, **schema):
    return re.fullmatch(regex(**schema), text) is not None


EXPECTED = {
    "bounds change the expression": False,
    "-5 between 0 and 10": True,
    "1.5 between 0 and 1": True,
    "abcd of maxLength 3": False,
    "number 1e+16": True,
    "number 1e16": False,
    "msgspec writes 1e16 as": "1e16",
}
seen = {
    "bounds change the expression": regex(type="integer", minimum=0, maximum=10) != regex(type="integer"),
    "-5 between 0 and 10": accepts("-5", type="integer", minimum=0, maximum=10),
    "1.5 between 0 and 1": accepts("1.5", type="number", minimum=0, maximum=1),
    "abcd of maxLength 3": accepts('"abcd"', type="string", maxLength=3),
    "number 1e+16": accepts("1e+16", type="number"),
    "number 1e16": accepts("1e16", type="number"),
    "msgspec writes 1e16 as": msgspec.json.encode(1e16).decode(),
}
for name, value in seen.items():
    print(f"{name:29} {value}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
