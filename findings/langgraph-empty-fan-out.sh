#!/usr/bin/env bash
# LangGraph 1.2.24: where a fan-out sends to nobody, the node that gathers its results never runs, and all looks well.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: a conditional edge that returns a list of `Send` starts one task for each. With an empty list nothing runs
#   behind it: neither the workers nor the node that follows them. `invoke` returns the state as it was, without an error.
# Seen: for two claims the report was "2 verdicts", for one "1 verdicts", and for none there was no report in the result.
# Why a good guess is wrong: a good engineer expects the gathering node to run with nothing to gather, because that is what
#   map and reduce over an empty list do, and because the edge from worker to gatherer says that it follows. The case comes
#   up only with the first input that yields no items, and raises nothing: the result lacks a key.
# Remedy: let the router name the gathering node where it has nothing to send.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile langgraph==1.2.24

"$folder/venv/bin/python" -W ignore - <<'EOF'
import operator
import sys
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


class State(TypedDict, total=False):
    claims: list[str]
    verdicts: Annotated[list[str], operator.add]
    report: str


graph = StateGraph(State)
graph.add_node("judge", lambda claim: {"verdicts": [f"{claim['text']}: true"]})
graph.add_node("report", lambda state: {"report": f"{len(state['verdicts'])} verdicts"})
graph.add_conditional_edges(START, lambda state: [Send("judge", {"text": each}) for each in state["claims"]], ["judge"])
graph.add_edge("judge", "report")
graph.add_edge("report", END)
pipeline = graph.compile()

EXPECTED = {0: None, 1: "1 verdicts", 2: "2 verdicts"}
seen = {count: pipeline.invoke({"claims": ["a", "b"][:count], "verdicts": []}).get("report") for count in range(3)}
for count, report in seen.items():
    print(f"{count} claims: report {report!r}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
