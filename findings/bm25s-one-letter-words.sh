#!/usr/bin/env bash
# bm25s 0.3.16 finds the passage on vitamin K first when it is asked for vitamin C.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: `bm25s.tokenize` keeps words of two letters and more, and drops English stop words, from passages and questions
#   alike. What is left without a word matches nothing; then `retrieve` returns k passages all the same, with score 0.
# Seen: for "vitamin C" the passage on vitamin K came first, with the same score as that on vitamin C. For "In" (the symbol
#   of indium), "No" and "C" all scores were 0, and a passage about none of them was returned.
# Why a good guess is wrong: a good engineer expects a rare word to count most, because that is what BM25 does, and "C" is the
#   rarest word there; and expects that a question without a match gives no passage. Vitamins, grades, blood groups, chemical
#   symbols, programming languages and initials are all lost. A test with longer words shows nothing.
# Remedy: `token_pattern=r"(?u)\b\w+\b"` and `stopwords=[]` at both ends, and leave out results with score 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile bm25s==0.3.16

"$folder/venv/bin/python" - <<'EOF'
import sys

import bm25s

PASSAGES = [
    "Vitamin C prevents scurvy",
    "Vitamin D comes from sunlight",
    "Vitamin K clots blood",
    "In is the symbol of indium",
    "No is the symbol of nobelium",
]


def search(question, **options):
    """The best passage and its score."""
    index = bm25s.BM25()
    index.index(bm25s.tokenize(PASSAGES, show_progress=False, **options), show_progress=False)
    asked = bm25s.tokenize(question, show_progress=False, **options)
    found, scores = index.retrieve(asked, corpus=PASSAGES, k=1, show_progress=False)
    return str(found[0][0]), bool(scores[0][0] > 0)


QUESTIONS = ["vitamin C", "C", "In", "No"]
EXPECTED = {
    "vitamin C": ("Vitamin K clots blood", True),
    "C": ("No is the symbol of nobelium", False),
    "In": ("No is the symbol of nobelium", False),
    "No": ("No is the symbol of nobelium", False),
    "vitamin C, all words kept": ("Vitamin C prevents scurvy", True),
}
seen = {question: search(question) for question in QUESTIONS}
seen["vitamin C, all words kept"] = search("vitamin C", token_pattern=r"(?u)\b\w+\b", stopwords=[])
for question, (passage, matched) in seen.items():
    print(f"{question:26} -> {passage!r}, {'score over 0' if matched else 'score 0'}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
