#!/usr/bin/env bash
# openai 3.57.0 ends a whole stream, and httpx-sse 0.4.3 makes an event up, where a server sends a block without data.
#
# Date: 2026-12-01. Run on Python 3.11 with httpx 0.28.1.
# Behaviour: by the WHATWG standard (HTML, server-sent events, "dispatch the event") a block whose data buffer is empty
#   makes no event. httpx-sse hands it on as an event with empty data. The OpenAI client reads the empty data as JSON, and
#   raises JSONDecodeError in the middle of the stream. Comment lines (": keep-alive") are skipped by both.
# Seen: behind one good chunk `retry: 500` and `event: ping` each ended the stream of chat.completions with
#   JSONDecodeError, and the chunk behind them never came. httpx-sse gave ('message', '') and ('ping', '').
# Why a good guess is wrong: a good engineer expects a reader of server-sent events to skip such a block, because the
#   standard says so, because servers send `retry:` or a bare `event:` to tell a wait or to keep a connection open, and
#   because the same client skips comments. A test with comments shows nothing.
# Remedy: in front of such servers filter blocks without data, or read events with a parser that keeps to the standard.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile \
    openai==3.57.0 httpx==0.28.1 httpx-sse==0.4.3

"$folder/venv/bin/python" - <<'EOF'
import json
import sys

import httpx
import httpx_sse
import openai

BLOCKS = {"comment": ": keep-alive\n\n", "retry": "retry: 500\n\n", "event": "event: ping\n\n"}


def chunk(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    said = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(said)}\n\n"


def client_of(body):
    """A client whose server answers anything with this stream."""
    headers = {"content-type": "text/event-stream"}
    return httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=body)))


def chat(block):
    body = (chunk("one") + block + chunk("two") + "data: [DONE]\n\n").encode()
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=client_of(body), max_retries=0)
    heard = []
    try:
        for said in client.chat.completions.create(model="m", messages=[], stream=True):
            heard.append(said.choices[0].delta.content)
    except json.JSONDecodeError as error:
        heard.append(type(error).__name__)
    return heard


def events(block):
    with client_of(block.encode()) as client, httpx_sse.connect_sse(client, "GET", "http://127.0.0.1/") as source:
        return [(event.event, event.data) for event in source.iter_sse()]


EXPECTED = {
    "comment": (["one", "two"], []),
    "retry": (["one", "JSONDecodeError"], [("message", "")]),
    "event": (["one", "JSONDecodeError"], [("ping", "")]),
}
seen = {name: (chat(block), events(block)) for name, block in BLOCKS.items()}
for name, (openai_heard, sse_heard) in seen.items():
    print(f"{BLOCKS[name]!r:18} openai: {openai_heard}  httpx-sse: {sse_heard}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
