#!/usr/bin/env bash
# FastAPI 0.165.0 leaves a synchronous event stream open when its client goes; an asynchronous one it closes at once.
#
# Date: 2026-12-01. Run on Python 3.11, with starlette 1.10.0, uvicorn 0.54.0 and httpx 0.28.1.
# Behaviour: an endpoint with `response_class=EventSourceResponse` may be a generator or an asynchronous generator. When the
#   client goes away, the asynchronous one is cancelled and its `finally` runs. The plain one is no longer asked for events,
#   but is not closed either: its `finally` runs only when Python's cycle collector finds it.
# Seen: 2 s after the client had gone the asynchronous stream had run its `finally`; the plain one had not, with the cycle
#   collector off; `gc.collect()` made it run.
# Why a good guess is wrong: a good engineer expects both to end alike, because FastAPI offers both forms as equals, and
#   because a generator that is dropped is closed at once in CPython. What the `finally` would free (a database
#   connection, a slot of an engine, a lock) stays taken for as long as the process happens to collect nothing.
# Remedy: write such endpoints as asynchronous generators.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile \
    fastapi==0.165.0 starlette==1.10.0 uvicorn==0.54.0 httpx==0.28.1

"$folder/venv/bin/python" - <<'EOF'
import asyncio
import gc
import sys
import threading
import time

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse

gc.disable()  # so that what the cycle collector would do shows only when it is asked
app = FastAPI()
ended = []


@app.get("/async", response_class=EventSourceResponse)
async def asynchronous():
    try:
        for number in range(10_000):
            yield number
            await asyncio.sleep(0.05)
    finally:
        ended.append("async")


@app.get("/plain", response_class=EventSourceResponse)
def plain():
    try:
        for number in range(10_000):
            yield number
            time.sleep(0.05)
    finally:
        ended.append("plain")


server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]


def leave(path):
    """Reads one line of the stream and goes; says which streams have ended 2 s later, and after a collection."""
    ended.clear()
    with httpx.stream("GET", f"http://127.0.0.1:{port}/{path}") as answer:
        next(answer.iter_lines())
    time.sleep(2)
    later = list(ended)
    gc.collect()
    time.sleep(0.2)
    return later, list(ended)


EXPECTED = {"async": (["async"], ["async"]), "plain": ([], ["plain"])}
seen = {path: leave(path) for path in ("async", "plain")}
server.should_exit = True
thread.join()
for path, (later, collected) in seen.items():
    print(f"{path}: 2 s after the client had gone {later or 'still open'}, after gc.collect() {collected or 'still open'}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
