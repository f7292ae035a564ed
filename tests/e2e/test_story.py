"""Verdicts lost on purpose, on a real broker: one command tells which record came, what was decided, and the cause."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.broker.brokers import Server
from tests.e2e.systems import Process, System, up

PIPELINE = """
from alto_streams.define.parsers import JsonLines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Message


class Topic(Record):
    names: list[str]


class Thing(Record):
    name: str


class Verdict(Record):
    label: bool


class Report(Record):
    labels: list[bool]


pipeline = Pipeline("losing", request=Topic)


@pipeline.map()
async def things(topic: Topic) -> list[Thing]:
    return [Thing(name) for name in topic.names]


@pipeline.generate(model="chat", show="text", broken="redo")
def verdicts(thing: Thing) -> Prompt[Verdict]:
    if thing.name == "raise":
        raise LookupError(" ".join(("words", "of", thing.name)))  # as a value: the source itself is shown
    return Prompt([Message("system", "Judge.")], thing.name, JsonLines(Verdict), max_tokens=64)


@pipeline.gather
def report(verdicts: Gather[Verdict]) -> Report:
    return Report([each.label for each in verdicts])
"""

GOOD = '{"label": true}\n'


class Judge(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that does with each call what its last message says."""

    over = threading.Event()  # until then, what hangs hangs

    def do_GET(self) -> None:
        self._json(200, {"data": [{"id": "m", "owned_by": "me"}]} if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        wish = body["messages"][-1]["content"]
        if wish == "refuse":
            return self._json(400, {"error": {"message": "no", "type": "invalid_request_error"}})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self._say("maybe\n" if wish == "nonsense" else GOOD)
        if wish in ("hang", "kill"):
            self.over.wait(120)
        with contextlib.suppress(OSError):  # its worker may be gone
            self._say("", "stop")
            self.wfile.write(b"data: [DONE]\n\n")
        return None

    def _say(self, text: str, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        self.wfile.flush()

    def _json(self, status: int, body: dict[str, Any]) -> None:
        said = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def judge() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Judge.over.clear()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        Judge.over.set()
        server.shutdown()
        server.server_close()


def ask(running: System, name: str, names: list[str], *options: str) -> tuple[Process, str]:
    """A question, under way, and its request's id."""
    given = ["--pipeline", "losing", "--json", "--gateway", running.gateway, json.dumps({"names": names}), *options]
    asking = Process(name, ["ask", *given], running.folder, {})
    return asking, asking.wait_said(r'"request": ?"([0-9a-f-]{36})"')[1]


def told(running: System, request: str, *options: str) -> str:
    """What `alto-streams story` says of a request."""
    env = {"ALTO_BROKER": f"kafka://{running.broker}", "ALTO_PIPELINES": "losing:pipeline", "ALTO_MAX_ATTEMPTS": "1"}
    story = Process("story", ["story", request, *options], running.folder, env)
    code, said = story.wait(), story.said()
    assert code == 0, said
    assert "words of raise" not in said
    return said


def check_five_causes(running: System) -> None:
    killed, second = ask(running, "killed", ["kill"])
    killed.wait_said(r'"chunk"')
    os.kill(running.pid_of("lm-chat"), signal.SIGKILL)
    killed.wait()
    lost = told(running, second)
    assert re.search(r"verdicts 0: closed failed, cause worker_lost \(gave up after 1 attempts: its worker was", lost)
    assert re.search(r"by chunk 0 of run \w+ of attempt 1 at 0, .*\(chunks\.losing\.verdicts-\d+@\d+", lost), lost
    said = told(running, second, "--stage", "verdicts", "--path", "0", "--json")
    steps = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    decided = [each["did"] for step in steps for each in step["decided"]]
    assert [did for did in decided if did in ("opened", "followed", "closed")] == ["opened", "followed", "closed"]

    asking, first = ask(running, "first", ["good", "raise", "refuse", "nonsense", "hang"], "--deadline", "10")
    asking.wait()
    found = told(running, first)
    ended = "the request has ended: failed, cause deadline (deadline exceeded), by timer: the request's deadline"
    assert ended in found
    assert "verdicts 1: closed failed, cause raised (verdicts raised LookupError" in found
    assert re.search(r"verdicts 2: closed failed, cause refused \(.*400", found), found
    assert re.search(r"verdicts 3: closed ok; .*\n.*a dead letter, cause parse", found), found
    assert "verdicts 0" not in found, "it went well"
    assert re.search(r"dead letter losing:0:\d+: verdicts 1: verdicts raised LookupError", found), found
    assert f"alto-streams story {first} --stage verdicts --path 1" in found


def lost_verdicts(folder: Path, env: dict[str, str]) -> None:
    (folder / "losing.py").write_text(PIPELINE)
    with judge() as address:
        models = {"ALTO_MODELS": f"chat=openai:{address}#m", "ALTO_MAX_ATTEMPTS": "1", "ALTO_SILENCE_S": "60"}
        with up(folder, {**models, "ALTO_SESSION_TIMEOUT_S": "6", **env}, "--app", "losing:pipeline") as running:
            check_five_causes(running)
            of_old = {"ALTO_PIPELINES": "losing:pipeline", "ALTO_BROKER": f"kafka://{running.broker}"}
            unknown = Process("unknown", ["story", "01890000-0000-7000-8000-000000000000"], folder, of_old)
            assert unknown.wait() == 1
            assert re.search(r"is not in requests\.losing any more: it is .* days old", unknown.said()), unknown.said()


def test_on_the_embedded_broker(tmp_path: Path) -> None:
    lost_verdicts(tmp_path, {})


def test_on_kafka(kafka: Server, tmp_path: Path) -> None:
    lost_verdicts(tmp_path, {"ALTO_BROKER": kafka.url})
