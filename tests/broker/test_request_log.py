"""Recording requests from a broker: from offsets and from times, with what became of them, and the command itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alto_streams.errors import NotInLog, PartDown
from alto_streams.history.requests import Bound, Found, outcomes, requests_of
from alto_streams.recordings.format import Recorded, hash_of, read_recording
from alto_streams.wire.records import Context, Event, EventKind, Mode, Raw, Request, Status
from alto_streams.wire.request_ids import created_ms, new_request_id
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, Server
from tests.broker.faust_apps import create_topics, settings_for, unique
from tests.broker.test_dead_letters import appending, until_known
from tests.e2e.systems import COMMAND, environment

SPACING_MS = 1_000
COUNT, PARTITIONS = 12, 3


async def some_requests(broker: Server, results: bool = True) -> tuple[str, list[str], int]:
    """A pipeline with requests that came one a second, over its partitions in turn: name, ids, the first one's time."""
    name = unique("p").replace("-", "_")
    topics = [f"requests.{name}", *([f"results.{name}"] if results else [])]
    await create_topics(broker.url, PARTITIONS, *topics)
    for topic in topics:
        await until_known(broker, topic)
    ids = [new_request_id() for _ in range(COUNT)]
    begin_ms = created_ms(ids[0]) - COUNT * SPACING_MS
    async with appending(broker) as append:
        for number, each in enumerate(ids):
            at_ms = begin_ms + number * SPACING_MS
            context = Context(Mode.BARRIER if number % 2 else Mode.STREAM, at_ms + 5_000)
            request = Request(each, name, Raw(b'{"prompt": "n %d"}' % number), context, idempotency_key="secret")
            await append(f"requests.{name}", request, each, number % PARTITIONS, at_ms=at_ms)
        await append(f"requests.{name}", b"no request", "", 1, at_ms=begin_ms + 1)
    return name, ids, begin_ms


async def read(broker: Server, folder: Path, name: str, **changes: Any) -> Found:
    wanted: dict[str, Any] = {"start": Bound(), "stop": Bound(), "most": None} | changes
    return await requests_of(settings_for(broker.url, folder), name, **wanted)


def numbers(found: Found) -> list[int]:
    """Of the requests, in their order."""
    return [int(msgspec.json.decode(each.input)["prompt"].split()[1]) for each in found.requests]


async def test_requests_are_read_in_the_order_of_their_arrival(broker: Server, tmp_path: Path) -> None:
    name, ids, begin_ms = await some_requests(broker)
    found = await read(broker, tmp_path, name)
    assert [each.id for each in found.requests] == ids
    assert found.requests[1] == Recorded(
        ids[1], begin_ms + SPACING_MS, name, Raw(b'{"prompt":"n 1"}'), Mode.BARRIER, within_s=5.0
    )
    assert found.offsets == {0: (0, 4), 1: (0, 4), 2: (0, 4)}
    assert found.unreadable == [f"requests.{name}-1@4"]
    assert numbers(await read(broker, tmp_path, name, most=5)) == [0, 1, 2, 3, 4]
    async with appending(broker) as append:
        again = Request(ids[3], name, Raw(b'{"prompt": "n 3"}'))
        await append(f"requests.{name}", again, ids[3], 2, at_ms=begin_ms + 60 * SPACING_MS)
    found = await read(broker, tmp_path, name)
    assert ([each.id for each in found.requests], found.repeated) == (ids, 1)


async def test_a_range_is_of_offsets_or_of_times(broker: Server, tmp_path: Path) -> None:
    name, _, begin_ms = await some_requests(broker)
    found = await read(broker, tmp_path, name, start=Bound(offset=2))
    assert numbers(found) == [6, 7, 8, 9, 10, 11]
    found = await read(
        broker, tmp_path, name, start=Bound(offsets={0: 3, 1: 1}), stop=Bound(offsets={0: 4, 1: 3, 2: 1})
    )
    assert numbers(found) == [2, 4, 7, 9]
    assert found.offsets == {0: (3, 4), 1: (1, 3), 2: (0, 1)}
    start, stop = Bound(at_ms=begin_ms + 4 * SPACING_MS), Bound(at_ms=begin_ms + 8 * SPACING_MS)
    assert numbers(await read(broker, tmp_path, name, start=start, stop=stop)) == [4, 5, 6, 7]
    assert numbers(await read(broker, tmp_path, name, start=start)) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert numbers(await read(broker, tmp_path, name, start=start, most=2)) == [4, 5]
    assert numbers(await read(broker, tmp_path, name, start=Bound(offset=99))) == []
    assert numbers(await read(broker, tmp_path, name, start=Bound(at_ms=begin_ms + 3_600_000))) == []
    assert numbers(await read(broker, tmp_path, name, stop=Bound(at_ms=begin_ms))) == []


async def test_what_became_of_requests_is_in_the_results(broker: Server, tmp_path: Path) -> None:
    name, ids, begin_ms = await some_requests(broker)
    async with appending(broker) as append:

        async def tell(number: int, kind: EventKind, at_ms: int, **body: Any) -> None:
            event = Event(ids[number], kind, "report", "", 0, at_ms, Raw(msgspec.json.encode(body)))
            await append(f"results.{name}", event, ids[number], number % PARTITIONS)

        await tell(0, EventKind.CHUNK, begin_ms + 1_000, text='this is "done", is it')
        await tell(0, EventKind.DONE, begin_ms + 2_500, status="ok", result={"b": 1, "a": [True]})
        await tell(1, EventKind.DONE, begin_ms + 4_000, status="failed", cause="deadline exceeded", result=None)
    requests = (await read(broker, tmp_path, name)).requests
    became = await outcomes(settings_for(broker.url, tmp_path), name, requests)
    assert {each: (told.status, told.done_s) for each, told in became.items()} == {
        ids[0]: (Status.OK, 2.5),
        ids[1]: (Status.FAILED, 3.0),
    }
    assert became[ids[0]].result_hash == hash_of(b'{"a":[true],"b":1}')


async def test_what_is_not_there_is_named(kafka: Server, tmp_path: Path) -> None:
    with pytest.raises(NotInLog, match=r"topic requests\.nobody does not exist.*topics apply"):
        await read(kafka, tmp_path, "nobody")
    name, _, _ = await some_requests(kafka, results=False)
    requests = (await read(kafka, tmp_path, name)).requests
    with pytest.raises(NotInLog, match=rf"topic results\.{name} does not exist"):
        await outcomes(settings_for(kafka.url, tmp_path), name, requests)
    nowhere = f"kafka://{HOST}:{free_ports(1)[0]}"
    with pytest.raises(PartDown, match=rf"{nowhere}: .*while requests were read.*ALTO_BROKER"):
        await requests_of(settings_for(nowhere, tmp_path), name, Bound(), Bound(), None)


async def command(broker: str, folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "record", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment({"ALTO_BROKER": broker, "ALTO_PIPELINES": "own"}),
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_the_command_writes_a_recording(kafka: Server, tmp_path: Path) -> None:
    name, ids, _ = await some_requests(kafka)
    (tmp_path / "own.py").write_text(
        "from alto_streams.define.pipeline import Gather, Pipeline, Record\n"
        "class Ask(Record):\n    prompt: str\n"
        "class Line(Record):\n    text: str\n"
        "class Page(Record):\n    lines: list[str]\n"
        f"pipeline = Pipeline({name!r}, request=Ask)\n"
        "@pipeline.map()\nasync def echo(ask: Ask) -> list[Line]:\n    return [Line(ask.prompt)]\n"
        "@pipeline.gather\ndef page(lines: Gather[Line]) -> Page:\n    return Page([line.text for line in lines])\n"
    )
    given = ["--pipeline", name, "--out", "rec.jsonl.gz"]
    code, out, error = await command(kafka.url, tmp_path, *given, "--count", "6", "--results")
    assert (code, error) == (0, f"1 records that nothing can read were left out (requests.{name}-1@4)\n"), error
    assert out == (
        f"rec.jsonl.gz: 6 requests of {name} over 5.0 s, 1 a second, from requests.{name}; 0 of them have ended\n"
    )
    recording = read_recording(tmp_path / "rec.jsonl.gz")
    assert [each.id for each in recording.requests] == ids[:6]
    assert recording.header.offsets == {0: (0, 2), 1: (0, 2), 2: (0, 2)}
    assert "secret" not in str(recording)
    code, out, error = await command(kafka.url, tmp_path, *given, "--from", "0:2,1:99", "--until", "0:3,2:0")
    assert (code, error) == (0, ""), error
    assert [each.id for each in read_recording(tmp_path / "rec.jsonl.gz").requests] == [ids[6]]
    code, out, error = await command(kafka.url, tmp_path, *given, "--from", "4")
    assert (code, out) == (1, "")
    assert error.splitlines()[-1] == (
        f"alto-streams: no request was found in requests.{name} (from 4 until the present end); widen the range"
    )
    assert [each.id for each in read_recording(tmp_path / "rec.jsonl.gz").requests] == [ids[6]], "left as it was"
