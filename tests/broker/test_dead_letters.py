"""Dead letters on each broker: who writes them, how they are found again, and what sending them again does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from alto_streams.agents.egress.app import egress_app
from alto_streams.agents.home.app import stage_app
from alto_streams.define.loading import load_pipelines
from alto_streams.errors import NotInLog, PartDown
from alto_streams.history import letters as letter_log
from alto_streams.history.letters import LetterId, StoredLetter
from alto_streams.history.redrive import Redriven, redrive
from alto_streams.history.stretches import places, reading, records_of
from alto_streams.log import topic_admin
from alto_streams.log.topics_file import load_topics
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.wire.records import Context, DeadLetter, Raw, Request, Wire, encode
from alto_streams.wire.request_ids import created_ms, new_request_id
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, Server
from tests.broker.faust_apps import create_topics, running, settings_for, unique
from tests.e2e.systems import COMMAND, environment

LATE_S = 40.0
LEAF: dict[str, Any] = {"cause": "no verdict", "stage": "verdict", "path": "0", "offset": 7}


@asynccontextmanager
async def appending(broker: Server) -> AsyncIterator[Callable[..., Awaitable[RecordMetadata]]]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers(broker.url), acks="all")
    await producer.start()
    try:

        async def append(
            topic: str, value: Wire | bytes | None, key: str = "", partition: int = 0, at_ms: int | None = None
        ) -> RecordMetadata:
            raw = encode(value) if isinstance(value, Wire) else value
            named = key.encode() or None
            return await producer.send_and_wait(topic, raw, key=named, partition=partition, timestamp_ms=at_ms)

        yield append
    finally:
        await producer.stop()


async def log_of(broker: Server, topic: str) -> list[Any]:
    """All records of a topic."""
    async with reading(Settings(broker=broker.url), "a test read them") as consumer:
        starts = dict.fromkeys(await places(consumer, topic), 0)
        return [record async for records in records_of(consumer, starts) for record in records]


async def some_pipeline(broker: Server) -> str:
    """The topics of a pipeline that no other test has."""
    name = unique("p").replace("-", "_")
    await create_topics(broker.url, 4, f"requests.{name}", f"chunks.{name}.claims")
    await create_topics(broker.url, 1, f"dead-letters.{name}")
    for topic in (f"requests.{name}", f"chunks.{name}.claims", f"dead-letters.{name}"):
        await until_known(broker, topic)
    return name


async def until_known(broker: Server, topic: str) -> None:
    """A broker may tell of a topic a moment after it was made."""
    async with asyncio.timeout(LATE_S), reading(Settings(broker=broker.url), "a test looked") as consumer:
        while True:
            with contextlib.suppress(NotInLog):
                await places(consumer, topic)
                return


async def newest(
    config: Settings, pipeline: str, limit: int = 100, since_ms: int = 0, **fields: str
) -> list[StoredLetter]:
    def wanted(each: StoredLetter) -> bool:
        return all(getattr(each.letter, name) == value for name, value in fields.items())

    return await letter_log.newest(config, [pipeline], wanted, limit, since_ms)


async def redriven(config: Settings, *ids: LetterId) -> list[Redriven]:
    return [each async for each in redrive(config, ids)]


def leaf(pipeline: str, request: str, **changes: Any) -> DeadLetter:
    """A letter of what failed within a request."""
    return DeadLetter(**LEAF | {"request": request, "topic": f"chunks.{pipeline}.claims", "partition": 2} | changes)


async def test_letters_are_found_from_the_newest_on(
    broker: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_log, "WINDOW", 4)  # so that a few letters need several steps back
    config, pipeline, request = settings_for(broker.url, tmp_path), await some_pipeline(broker), new_request_id()
    assert await newest(config, pipeline) == []
    async with appending(broker) as append:
        for offset in range(11):
            made = leaf(pipeline, request if offset % 5 == 0 else new_request_id(), offset=offset, record=b"x" * offset)
            await append(f"dead-letters.{pipeline}", made)
        await append(f"dead-letters.{pipeline}", b"no letter")
    found = await newest(config, pipeline)
    assert [each.id.offset for each in found] == list(range(11, -1, -1))
    assert (found[0].readable, found[0].letter.stage) == (False, "")
    assert [each.record_bytes for each in found[1:]] == list(range(10, -1, -1))
    assert not any(each.letter.record for each in found)
    assert [each.id.offset for each in await newest(config, pipeline, limit=3)] == [11, 10, 9]
    assert [each.id.offset for each in await newest(config, pipeline, request=request)] == [10, 5, 0]
    assert [each.id.offset for each in await newest(config, pipeline, limit=1, request=request)] == [10]
    assert [each.id.offset for each in await newest(config, pipeline, since_ms=found[4].at_ms)] >= [11, 10, 9, 8, 7]
    assert await newest(config, pipeline, since_ms=found[0].at_ms + 1) == []
    (whole,) = await letter_log.fetched(config, [LetterId(pipeline, 0, 9)])
    assert whole.letter.record == b"x" * 9


async def test_a_record_is_sent_again_as_it_was(broker: Server, tmp_path: Path) -> None:
    config, pipeline, request = settings_for(broker.url, tmp_path), await some_pipeline(broker), new_request_id()
    async with appending(broker) as append:
        letters = [
            await append(f"dead-letters.{pipeline}", leaf(pipeline, request, record=b"\xffnot JSON", key=key))
            for key in (request, "")
        ]
    ids = [LetterId(pipeline, 0, each.offset) for each in letters]
    done = await redriven(config, *ids, ids[0])
    assert [(each.id, each.topic, each.partition, each.past) for each in done] == [
        (each, f"chunks.{pipeline}.claims", 2, False) for each in ids
    ]
    records = await log_of(broker, f"chunks.{pipeline}.claims")
    assert [(each.partition, each.key, each.value) for each in records] == [
        (2, request.encode(), b"\xffnot JSON"),
        (2, None, b"\xffnot JSON"),
    ]


async def test_what_failed_in_a_request_is_asked_again_under_a_new_id(broker: Server, tmp_path: Path) -> None:
    config, pipeline = settings_for(broker.url, tmp_path), await some_pipeline(broker)
    asked = [new_request_id() for _ in range(30)]
    async with appending(broker) as append:
        for number, each in enumerate(asked):
            due = Context(deadline_ms=created_ms(each) + 5_000)
            request = Request(each, pipeline, Raw(b'{"prompt": "%d"}' % number), due, idempotency_key="once")
            await append(f"requests.{pipeline}", request, each, number % 4)
        ids = []
        for each in (asked[13], asked[13], asked[29], new_request_id()):
            letter = await append(f"dead-letters.{pipeline}", leaf(pipeline, each))
            ids.append(LetterId(pipeline, 0, letter.offset))
    with pytest.raises(NotInLog, match=rf"{ids[3]}: request .* is not in requests\.{pipeline} any more"):
        await redriven(config, *ids)
    assert len(await log_of(broker, f"requests.{pipeline}")) == 30, "nothing is sent if one of them cannot be"
    done = await redriven(config, *ids[:3])
    assert [each.request for each in done] == [asked[13], asked[13], asked[29]]
    assert done[0].again == done[1].again != done[2].again
    records = [msgspec.json.decode(each.value, type=Request) for each in await log_of(broker, f"requests.{pipeline}")]
    new = {each.id: each for each in records if each.id not in asked}
    assert len(new) == 2, "one request for two letters of it"
    again = new[done[0].again]
    assert (bytes(again.input), again.idempotency_key) == (b'{"prompt": "13"}', None)
    assert (again.context.deadline_ms or 0) - created_ms(again.id) == 5_000
    (twice,) = await redriven(config, ids[0])
    assert twice.again not in (*asked, *new), "a second time it is one more request, and says so"


async def test_what_cannot_be_sent_again_is_refused(broker: Server, tmp_path: Path) -> None:
    config, pipeline = settings_for(broker.url, tmp_path), await some_pipeline(broker)
    refused = {
        "this letter is unreadable": b"no letter",
        "carries no record and names no request": leaf(pipeline, ""),
        "no UUID": leaf(pipeline, "someone"),
        "no topic of": leaf(pipeline, "", record=b"x", topic="chunks.another.claims"),
    }
    async with appending(broker) as append:
        for offset, (why, letter) in enumerate(refused.items()):
            await append(f"dead-letters.{pipeline}", letter)
            with pytest.raises(NotInLog, match=f"{pipeline}:0:{offset}: .*{why}"):
                await redriven(config, LetterId(pipeline, 0, offset))
    with pytest.raises(NotInLog, match="there is no such letter"):
        await redriven(config, LetterId(pipeline, 0, 99))
    with pytest.raises(NotInLog, match="has no partition 3"):
        await redriven(config, LetterId(pipeline, 3, 0))
    with pytest.raises(NotInLog, match=r"topic dead-letters\.nobody does not exist.*topics apply"):
        await newest(config, "nobody")


async def test_workers_write_a_letter_for_what_they_cannot_read(broker: Server, redis: Server, tmp_path: Path) -> None:
    """The worker that lets requests in, a home, and the egress; each goes on with what comes after."""
    await topic_admin.apply(broker.url, load_topics(None).specs)
    config = settings_for(broker.url, tmp_path, redis=redis.url)
    pipeline, request = load_pipelines(config.pipelines)["factcheck"], new_request_id()
    origins = ["requests.factcheck", "chunks.factcheck.report", "results.factcheck"]
    known = f'{{"type": "nonsense", "request": "{request}"}}'.encode()

    async def letters(count: int) -> list[DeadLetter]:
        async with asyncio.timeout(LATE_S):
            while len(found := await newest(config, "factcheck", request=request)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return [each.letter for each in await letter_log.fetched(config, [each.id for each in found])]

    async with running(stage_app(config, pipeline, "report"), egress_app(config, pipeline)):
        async with appending(broker) as append:
            for topic in origins:
                await append(topic, known, request, partition=5)
                await append(topic, None, request, partition=5)
        found = await letters(6)
        assert sorted((each.topic, each.partition, each.stage, each.record) for each in found) == sorted(
            (topic, 5, stage, record)
            for topic, stage in zip(origins, ("request", "report", "egress"), strict=True)
            for record in (known, b"")
        )
        assert {each.key for each in found} == {request}
        home = next(each for each in await newest(config, "factcheck", request=request, stage="report") if each[3])
        (done,) = await redriven(config, home.id)
        assert (done.topic, done.partition) == ("chunks.factcheck.report", 5)
        assert (await letters(7))[0].offset == done.offset, "still unreadable: one more letter, of its new place"


async def command(broker: str, folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "dead-letters", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment({"ALTO_BROKER": broker, "ALTO_PIPELINES": "own"}),
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_the_command_lists_shows_and_sends_again(kafka: Server, tmp_path: Path) -> None:
    pipeline, request = await some_pipeline(kafka), new_request_id()
    (tmp_path / "own.py").write_text(
        "from alto_streams.define.pipeline import Gather, Pipeline, Record\n"
        "class Ask(Record):\n    text: str\n"
        "class Line(Record):\n    text: str\n"
        "class Page(Record):\n    lines: list[str]\n"
        f"pipeline = Pipeline({pipeline!r}, request=Ask)\n"
        "@pipeline.map()\nasync def claims(ask: Ask) -> list[Line]:\n    return [Line(ask.text)]\n"
        "@pipeline.gather\ndef page(lines: Gather[Line]) -> Page:\n    return Page([line.text for line in lines])\n"
    )
    async with appending(kafka) as append:
        made = leaf(pipeline, request, record=b"what the user said", key=request, stage="claims", cause="undecodable")
        await append(f"dead-letters.{pipeline}", made)
    code, out, error = await command(kafka.url, tmp_path, "list")
    assert (code, error) == (0, ""), error
    assert f"{pipeline}:0:0" in out.splitlines()[1]
    code, out, error = await command(kafka.url, tmp_path, "list", "--json", "--stage", "claims", "--since", "1h")
    assert json.loads(out)["request"] == request
    assert (await command(kafka.url, tmp_path, "list", "--stage", "verdict"))[1] == "no dead letters\n"
    _, out, _ = await command(kafka.url, tmp_path, "show", f"{pipeline}:0:0")
    assert request in out
    assert "user" not in out
    _, out, _ = await command(kafka.url, tmp_path, "show", f"{pipeline}:0:0", "--record", "--json")
    assert json.loads(out)["record"] == "what the user said"
    code, out, error = await command(kafka.url, tmp_path, "redrive", f"{pipeline}:0:0")
    assert (code, error) == (0, ""), error
    assert out == f"{pipeline}:0:0: its record was sent again (chunks.{pipeline}.claims-2@0)\n"
    code, out, error = await command(kafka.url, tmp_path, "redrive", f"{pipeline}:0:1")
    assert (code, out) == (1, "")
    assert error.count("\n") == 1, error


async def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = f"kafka://{HOST}:{free_ports(1)[0]}"
    with pytest.raises(PartDown, match=rf"{nowhere}: .*while dead letters were read.*ALTO_BROKER"):
        await newest(settings_for(nowhere, tmp_path), "factcheck")
    with pytest.raises(PartDown, match=nowhere):
        await redriven(settings_for(nowhere, tmp_path), LetterId("factcheck", 0, 1))
