#!/usr/bin/env bash
# bm25s 0.3.16 with method "bm25+" or "bm25l" gives passages that have no word of the question a score over 0.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: with these methods each word of a question adds a part to the score of every passage, also of those without it.
#   With "robertson" and "atire" a word that stands in every passage adds nothing: a passage that matches it scores 0.
# Seen: asked for "scurvy", which one of three passages has, "lucene" scored the other two 0, "bm25+" and "bm25l" over 0.
#   Asked for "vitamin", which all three have, "robertson" and "atire" scored all of them 0, as if nothing matched.
# Why a good guess is wrong: a good engineer who filters by `score > 0` expects this to mean "has a word of the question" with
#   every method, because a method is known as another weighting of the same matches: the sum of BM25, BM25+ and BM25L runs
#   over the words that question and passage share. Changing the method turns the filter into one that lets all through,
#   or none.
# Remedy: ask for matches by the words themselves, not by the score.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile bm25s==0.3.16

"$folder/venv/bin/python" - <<'EOF'
import sys

import bm25s

PASSAGES = [["vitamin", "scurvy"], ["vitamin", "sunlight"], ["vitamin", "blood"]]


def over_zero(method, word):
    """How many of the three passages score over 0."""
    index = bm25s.BM25(method=method)
    index.index(PASSAGES, show_progress=False)
    return int((index.get_scores([word]) > 0).sum())


METHODS = ["lucene", "robertson", "atire", "bm25+", "bm25l"]
EXPECTED = {"lucene": (1, 3), "robertson": (1, 0), "atire": (1, 0), "bm25+": (3, 3), "bm25l": (3, 3)}
seen = {method: (over_zero(method, "scurvy"), over_zero(method, "vitamin")) for method in METHODS}
for method, (rare, common) in seen.items():
    print(f"{method:10} over 0: {rare} of 3 for a word that one has, {common} of 3 for a word that all have")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
