#!/usr/bin/env bash
# LangGraph 1.2.24 stops a loop that never ends after 10,007 steps; 0.6.11 stopped it after 25.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: without a `recursion_limit` in the config of a call, a graph that goes round for ever raises GraphRecursionError
#   only after 10,007 steps.
# Seen: a node that always routes to itself ran 10,007 times under 1.2.24. With langgraph==0.6.11 in its place the same graph
#   ran it 25 times.
# Why a good guess is wrong: a good engineer expects the guard to stop a runaway agent after a few dozen steps, because 25
#   was the default before, and relies on it as a bound of what a request may cost: each step is a model call. An upgrade
#   makes that bound four hundred times as large, and no program has to change for it.
# Remedy: give `{"recursion_limit": N}` with every call.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile langgraph==1.2.24

"$folder/venv/bin/python" -W ignore - <<'EOF'
import operator
import sys
from typing import Annotated, TypedDict

from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    steps: Annotated[int, operator.add]


ran = 0


def model_call(state):
    global ran
    ran += 1
    return {"steps": 1}


graph = StateGraph(State)
graph.add_node("call", model_call)
graph.add_edge(START, "call")
graph.add_conditional_edges("call", lambda state: "call", ["call"])
try:
    graph.compile().invoke({"steps": 0})
except GraphRecursionError:
    print(f"{ran} steps, then GraphRecursionError")

EXPECTED = 10_007
seen = ran
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
