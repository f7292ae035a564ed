"""Sending recorded requests again: at their times however the answers come, and the same bytes in virtual time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alto_streams.cli import run_command
from alto_streams.cli.replaying import Replaying
from alto_streams.cli.simulating import plain_text
from alto_streams.client import Client, ClientEvent, ProblemError
from alto_streams.parts import PartDown
from alto_streams.recordings.format import Header, Recorded, Recording, write_recording
from alto_streams.recordings.results import read_results
from alto_streams.recordings.spacing import Planned
from alto_streams.records import EventKind, Mode, Raw

PIPELINE = """
import asyncio, json, random
from alto_streams.parsers import Lines
from alto_streams.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.records import Message

class Ask(Record):
    prompt: str
class Line(Record):
    text: str
class Found(Record):
    text: str
class Page(Record):
    lines: list[str]

pipeline = Pipeline("pages", request=Ask)

@pipeline.generate(model="chat", show="text")
def lines(ask: Ask) -> Prompt[Line]:
    return Prompt([Message("system", "Write.")], ask.prompt, Lines(Line), 200, subject=ask.prompt)

@pipeline.map(show="items")
async def found(line: Line) -> list[Found]:
    await asyncio.sleep(random.random())
    return [Found(line.text.upper())]

@pipeline.gather
def page(founds: Gather[Found]) -> Page:
    return Page([each.text for each in founds])

def script(path):
    texts = json.loads(path.read_text())
    return lambda prompt_class, call: texts.get(call.subject)
"""


class Answers(Client):
    """Answers each request with its prompt once `released`; what contains `down` or `bad` fails."""

    def __init__(self) -> None:
        super().__init__(["http://127.0.0.1:1"])
        self.released = asyncio.Event()
        self.submitted: list[tuple[str, Any, Mode, float | str | None]] = []
        self.cancelled: list[str] = []
        self.arrived = asyncio.Semaphore(0)

    async def submit(
        self,
        pipeline: str,
        input: Any,
        mode: Mode = Mode.STREAM,
        deadline: float | str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        if pipeline != "pages":
            raise ProblemError(422, {"field": "pipeline", "detail": "no pipeline of that name"})
        if "bad" in input["prompt"]:
            raise ProblemError(422, {"field": "input.prompt", "detail": "is bad"})
        if "down" in input["prompt"]:
            raise PartDown("gateway", "http://127.0.0.1:1", "no connection", "start it")
        self.submitted.append((pipeline, input, mode, deadline))
        self.arrived.release()
        return str(input["prompt"])

    async def events(self, request: str, last_event_id: int | None = None) -> AsyncIterator[ClientEvent]:
        yield ClientEvent(1, EventKind.CHUNK, "lines", "", 0, 0, {"text": "It is"})
        if "soon" not in request:
            await self.released.wait()
        yield ClientEvent(2, EventKind.ITEM, "found", "0/0", 0, 0, {"value": {"text": request}})
        yield ClientEvent(3, EventKind.DONE, "page", "", 0, 0, {"status": "ok", "result": {"lines": [request]}})

    async def cancel(self, request: str, pipeline: str | None = None, stage: str = "", path: str = "") -> None:
        self.cancelled.append(request)


def request(prompt: str, **changes: Any) -> Recorded:
    return Recorded(prompt, 0, "pages", Raw(msgspec.json.encode({"prompt": prompt})), **changes)


async def test_requests_are_sent_however_the_answers_come() -> None:
    async with Answers() as client:
        replaying = Replaying(client, result_stage="found")
        planned = [Planned(number / 100, request(f"n {number}", within_s=9.5)) for number in range(5)]
        running = asyncio.create_task(replaying.run(planned))
        async with asyncio.timeout(60):
            for _ in planned:
                await client.arrived.acquire()
        assert replaying.ran == {}, "none has been answered"
        client.released.set()
        await asyncio.wait_for(running, 60)
    assert client.submitted[3] == ("pages", {"prompt": "n 3"}, Mode.STREAM, 9.5)
    for at_s, each in planned:
        ran = replaying.ran[each.id]
        assert (ran.status, ran.at_s, bytes(ran.result)) == ("ok", at_s, b'{"lines":["%s"]}' % each.id.encode())
        assert 0 <= ran.late_s <= (ran.ttft_s or 0) <= (ran.first_item_s or 0) <= (ran.done_s or 0)


async def test_latencies_count_from_the_scheduled_arrival() -> None:
    async with Answers() as client:
        replaying = Replaying(client)
        await replaying.run([Planned(-2.0, request("soon", mode=Mode.BARRIER, within_s=3.0))])
        ran = replaying.ran["soon"]
        assert 2.0 <= ran.late_s <= (ran.ttft_s or 0) <= (ran.done_s or 0)
        assert ran.first_item_s is None, "no stage was named"
        without = Replaying(client, with_deadlines=False)
        await without.run([Planned(0.0, request("soon", within_s=3.0))])
    assert client.submitted == [
        ("pages", {"prompt": "soon"}, Mode.BARRIER, 3.0),
        ("pages", {"prompt": "soon"}, Mode.STREAM, None),
    ]


async def test_beyond_the_bound_requests_are_late_and_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alto_streams.cli.replaying.MOST_UNDER_WAY", 2)
    async with Answers() as client:
        replaying = Replaying(client)
        running = asyncio.create_task(replaying.run([Planned(0.0, request(f"n {number}")) for number in range(3)]))
        async with asyncio.timeout(60):
            for _ in range(2):
                await client.arrived.acquire()
        asyncio.get_running_loop().call_later(1.0, client.released.set)
        await asyncio.wait_for(running, 60)
    assert [each.late_s >= 0.99 for each in replaying.ran.values()] == [False, False, True]


async def test_an_interrupted_replay_keeps_what_has_ended() -> None:
    async with Answers() as client:
        ended = asyncio.Event()
        replaying = Replaying(client)
        planned = [Planned(0.0, request("soon")), Planned(0.0, request("later")), Planned(9e9, request("never"))]
        running = asyncio.create_task(replaying.run(planned, ended.set))
        async with asyncio.timeout(60):
            for _ in range(2):
                await client.arrived.acquire()
            await ended.wait()

        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert ([*replaying.ran], client.cancelled) == (["soon"], ["later"])


async def test_a_request_that_fails_does_not_end_the_replay_but_a_wrong_address_does() -> None:
    async with Answers() as client:
        replaying = Replaying(client)
        await replaying.run([Planned(at_s / 20, request(text)) for at_s, text in enumerate(("bad", "soon", "down"))])
        causes = {each.id: (each.status, each.cause) for each in replaying.ran.values()}
        assert causes["bad"] == ("failed", "input.prompt: is bad")
        assert causes["soon"] == ("ok", None)
        assert causes["down"][0] == "failed"
        for text, pipeline, refusal in (("down", None, PartDown), ("soon", "nope", ProblemError)):
            with pytest.raises(ExceptionGroup) as refused:
                await Replaying(client, pipeline).run([Planned(0.0, request(text))])
            assert isinstance(refused.value.exceptions[0], refusal)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages.py").write_text(PIPELINE)
    (tmp_path / "script.json").write_text(json.dumps({f"p{number}": "one line\nand two\n" * 3 for number in range(7)}))
    prompts = [Raw(b'{"prompt":"p%d"}' % (n % 7)) for n in range(200)]
    modes = [Mode.BARRIER, Mode.STREAM, Mode.STREAM]
    requests = [Recorded(f"r{n:03}", n * 40, "pages", each, modes[n % 3]) for n, each in enumerate(prompts)]
    write_recording(tmp_path / "rec.jsonl.gz", Recording(Header(1, "pages", "x", 200, "2030"), requests))
    write_recording(tmp_path / "rec.parquet", Recording(Header(1, "pages", "x", 200, "2031"), requests))
    return tmp_path


def simulated(folder: Path, file: str, out: str, *more: str, hash_seed: str = "0", code: int = 0) -> bytes:
    """The results of a replay in a process of its own."""
    given = [file, "--simulate", "--script", "script.json", "--out", out, *more]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ALTO_")}
    done = subprocess.run(
        [sys.executable, "-m", "alto_streams", "replay", *given],
        cwd=folder,
        env=env | {"ALTO_PIPELINES": "pages", "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    return (folder / out).read_bytes()


def test_two_simulated_replays_are_equal_byte_for_byte(folder: Path) -> None:
    first = simulated(folder, "rec.jsonl.gz", "a.jsonl")
    assert simulated(folder, "rec.parquet", "b.jsonl", hash_seed="1") == first
    header, ran = read_results(folder / "a.jsonl")
    assert header.started is None
    assert [each.id for each in ran] == [f"r{number:03}" for number in range(200)]
    assert {each.status for each in ran} == {"ok"}
    assert json.loads(bytes(ran[0].result)) == {"lines": ["ONE LINE", "AND TWO"] * 3}
    assert all(0 < (each.ttft_s or 0) <= (each.first_item_s or 0) <= (each.done_s or 0) for each in ran)
    assert run_command(["diff", f"{folder}/a.jsonl", f"{folder}/b.jsonl", "--tolerance", "0"]) == 0
    spacing = ("--seed", "2", "--rate", "3", "--limit", "20")
    other = simulated(folder, "rec.jsonl.gz", "c.jsonl", "--hop-ms", "50", *spacing)

    assert other != first
    header, slow = read_results(folder / "c.jsonl")
    assert (header.spacing, len(slow)) == ("rate 3, poisson, seed 2", 20)
    assert run_command(["diff", f"{folder}/a.jsonl", f"{folder}/c.jsonl"]) == 1


def test_calls_that_no_script_knows_get_plain_text(folder: Path) -> None:
    (folder / "script.json").write_text("{}")
    simulated(folder, "rec.jsonl.gz", "a.jsonl", "--limit", "3", code=1)
    simulated(folder, "rec.jsonl.gz", "b.jsonl", "--limit", "3", "--output-tokens", "30")
    found = [len(json.loads(bytes(each.result))["lines"]) for each in read_results(folder / "b.jsonl")[1]]
    assert found == [3, 3, 3], "twelve words a line"
    assert len(plain_text(30)) == 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl: cannot be read: No such file"),
        (["rec.jsonl.gz", "--out", "x.csv"], "--out x.csv: expected a name that ends in .jsonl or .jsonl.gz"),
        (["rec.jsonl.gz", "--speed", "2", "--rate", "3"], "--speed and --rate: give one of them"),
        (["rec.jsonl.gz", "--engines", "2"], "--engines: only with --simulate"),
        (["rec.jsonl.gz", "--simulate", "--gateway", "http://127.0.0.1:1"], "--gateway: not with --simulate"),
        (["rec.jsonl.gz", "--gateway", "localhost"], "expected an address such as"),
        (["rec.jsonl.gz", "--simulate"], "add --script FILE, or --output-tokens N"),
        (["rec.jsonl.gz", "--simulate", "--script", "nope"], "--script nope: no such file"),
        (["rec.jsonl.gz", "--simulate", "--output-tokens", "9"], "--pipeline pages: there is none of that name"),
        (
            ["rec.jsonl.gz", "--simulate", "--output-tokens", "9", "--pipeline", "factcheck", "--limit", "0"],
            "--limit",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert run_command(["replay", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
