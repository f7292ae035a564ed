#!/usr/bin/env bash
# A UUID of uuid-utils 0.19.0 is never equal to the same UUID of the standard library, though their hashes are.
#
# Date: 2026-12-01. Run on Python 3.11, with orjson 3.13.0 and msgspec 0.23.0.
# Behaviour: `uuid_utils.UUID` is a class of its own. Comparing it with a `uuid.UUID` of the same bits gives False and
#   raises nothing; both have the same hash. orjson and msgspec, which write a `uuid.UUID`, refuse it.
# Seen: == False in both directions, hashes equal, a lookup in a dict or set of the other kind finds nothing.
# Why a good guess is wrong: a good engineer expects equality, because the package calls itself a fast drop-in replacement
#   of Python's uuid, its UUID has the same fields, text and hash, and equal hashes hint at equal values. An id made by one
#   and read back from text by the other looks the same in every log, and is found in no dict.
# Remedy: import from `uuid_utils.compat`, whose functions return the standard library's class.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile \
    uuid-utils==0.19.0 orjson==3.13.0 msgspec==0.23.0

"$folder/venv/bin/python" - <<'EOF'
import sys
import uuid

import msgspec
import orjson
import uuid_utils
import uuid_utils.compat

theirs = uuid_utils.uuid7()
same = uuid.UUID(str(theirs))


def refuses(encode):
    try:
        encode(theirs)
    except TypeError:
        return True
    return False


EXPECTED = {
    "texts equal": True,
    "bits equal": True,
    "hashes equal": True,
    "theirs == same": False,
    "same == theirs": False,
    "found in a dict": None,
    "found in a set": False,
    "orjson refuses it": True,
    "msgspec refuses it": True,
    "compat gives": "uuid.UUID",
}
kind = type(uuid_utils.compat.uuid7())
seen = {
    "texts equal": str(theirs) == str(same),
    "bits equal": theirs.int == same.int,
    "hashes equal": hash(theirs) == hash(same),
    "theirs == same": theirs == same,
    "same == theirs": same == theirs,
    "found in a dict": {theirs: "row"}.get(same),
    "found in a set": same in {theirs},
    "orjson refuses it": refuses(orjson.dumps),
    "msgspec refuses it": refuses(msgspec.json.encode),
    "compat gives": f"{kind.__module__}.{kind.__qualname__}",
}
for name, value in seen.items():
    print(f"{name:19} {value}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
