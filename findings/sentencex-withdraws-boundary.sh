#!/usr/bin/env bash
# sentencex 1.0.32 takes back a sentence's end that it had given, lines later, as the text behind it grows.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: `sentencex.segment` decides about an end by what stands behind it, however far behind. In a list, one letter of
#   the next item joins the two sentences of the item before. A closing quotation mark or bracket joins the sentences that
#   it encloses.
# Seen: "- Paris is the capital. It is big.\n- " gives three parts; with the one letter "R" behind it the first two parts
#   have become one. `She said: "Spain is warm. I like it.` gives two sentences, and one once the quote is closed.
# Why a good guess is wrong: a good engineer who streams text waits until the next sentence has begun, and then takes the one
#   before as final: rule-based splitters look at the words next to a full stop, and a line end closes whatever stands
#   before it. Here a sentence that was handed on a line ago is no sentence any more.
# Remedy: decide about each end once, from the text up to it, and never split the whole text anew.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile sentencex==1.0.32

"$folder/venv/bin/python" - <<'EOF'
import sys

import sentencex

GROWING = {
    "a list": ["- Paris is the capital. It is big.\n- ", "- Paris is the capital. It is big.\n- R"],
    "a quote": ['She said: "Spain is warm. I like it. Very', 'She said: "Spain is warm. I like it. Very much."'],
    "brackets": ["He said (and I quote. He did", "He said (and I quote. He did)"],
}
EXPECTED = {
    "a list": [
        ["- Paris is the capital. ", "It is big.\n", "- "],
        ["- Paris is the capital. It is big.\n", "- R"],
    ],
    "a quote": [
        ['She said: "Spain is warm. ', "I like it. ", "Very"],
        ['She said: "Spain is warm. I like it. Very much."'],
    ],
    "brackets": [["He said (and I quote. ", "He did"], ["He said (and I quote. He did)"]],
}
seen = {name: [list(sentencex.segment("en", text)) for text in texts] for name, texts in GROWING.items()}
for name, (before, after) in seen.items():
    print(f"{name:9} before: {before}\n{'':9} after:  {after}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
