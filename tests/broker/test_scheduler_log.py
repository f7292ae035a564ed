"""What the log and Redis say of the scheduler, and of one request's dispatches, read from real ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path

import pytest
from aiokafka.errors import TopicAlreadyExistsError
from redis.asyncio import Redis

from alto_streams.errors import NotInLog
from alto_streams.history.dispatches import Course, course_of
from alto_streams.history.plans import SchedulerState, known
from alto_streams.log.topics_file import load_topics, required_topics, to_yaml
from alto_streams.settings import Settings
from alto_streams.wire.codec import encode
from alto_streams.wire.plans import ClassReport, EngineReport, Forecast, Load, Plan, Receipt
from alto_streams.wire.records import Call, Event, EventKind, Home, Message, Raw, Request, Status, Work
from alto_streams.wire.redis_keys import load_key
from alto_streams.wire.request_ids import created_ms, new_request_id, request_id_at
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, Server
from tests.broker.faust_apps import create_topics, settings_for, unique
from tests.broker.test_dead_letters import appending, until_known
from tests.e2e.systems import COMMAND, environment

USER_TEXT = "what the user wrote"
PARTITIONS = 3


async def a_pipeline(broker: Server, folder: Path) -> tuple[str, Settings]:
    """Its topics, those of the stages `answer` and `claims` among them: name, and settings that know them."""
    name = unique("p").replace("-", "_")
    topics = [f"requests.{name}", f"results.{name}", f"work.{name}.answer", f"work.{name}.claims"]
    await create_topics(broker.url, PARTITIONS, *topics)
    for topic in topics:
        await until_known(broker, topic)
    file = folder / "topics.yaml"
    file.write_text(to_yaml(required_topics(name, ["answer", "claims"], ["answer", "claims"])))
    return name, settings_for(broker.url, folder, topics_file=file)


async def course(config: Settings, name: str, request: str) -> Course:
    models = {name: {"chat": ["answer"], "judge": ["claims"]}}
    return await course_of(config, models, request, load_topics(config.topics_file))


async def test_the_dispatches_of_a_request_are_found_among_others(broker: Server, tmp_path: Path) -> None:
    name, config = await a_pipeline(broker, tmp_path)
    mine, other = new_request_id(), new_request_id()
    receipt = Receipt("prompt_aware", "warm", "me", "http://w:1", 50, 3, True, 40)
    begin_ms = created_ms(mine)
    async with appending(broker) as append:

        async def work(number: int, request: str, stage: str, attempt: int = 1, receipt: Receipt | None = None) -> None:
            call = Call([Message("user", f"{USER_TEXT} {mine}")], 10)
            home = Home(f"chunks.{name}.{stage}", 0)
            item = Work(request, stage, f"{number}", attempt, home, "judge", call, prefix=USER_TEXT, receipt=receipt)
            await append(f"work.{name}.{stage}", item, "", number % PARTITIONS, at_ms=begin_ms + number)

        for each in (other, mine):
            await append(f"requests.{name}", Request(each, name, Raw(b"{}")), each, at_ms=begin_ms)
        for number in range(1, 101):
            await work(number, other if number % 5 == 0 else mine, "claims" if number > 1 else "answer", 1, receipt)
        await work(101, mine, "claims", 2)
        await append(f"work.{name}.claims", f"no work of {mine}".encode(), "", 1, at_ms=begin_ms + 102)
        found = await course(config, name, mine)
        assert found.became is None, "it has not ended"
        assert [each.at_ms - begin_ms for each in found.dispatches] == [n for n in range(1, 102) if n % 5]
        assert (found.dispatches[0].stage, found.dispatches[0].receipt) == ("answer", receipt)
        assert (found.dispatches[-1].attempt, found.dispatches[-1].receipt) == (2, None)
        assert len(found.unreadable) == 1
        assert USER_TEXT not in repr(found)
        done = Event(mine, EventKind.DONE, "x", "", 0, begin_ms + 2_000, Raw(b'{"status":"ok","result":null}'))
        await append(f"results.{name}", done, mine, 1, at_ms=begin_ms + 2_000)
        await append(f"work.{name}.claims", b"of long after", "", 1, at_ms=begin_ms + 3_600_000)
    found = await course(config, name, mine)
    assert found.became is not None
    assert (found.became.status, found.became.done_s, len(found.dispatches)) == (Status.OK, 2.0, 81)


async def test_a_request_that_is_not_there_is_told_from_one_that_is_too_old(broker: Server, tmp_path: Path) -> None:
    name, config = await a_pipeline(broker, tmp_path)
    with pytest.raises(NotInLog, match=rf"there is no request .* in requests\.{name}; an id is what"):
        await course(config, name, new_request_id())
    old = request_id_at(int((time.time() - 5 * 86_400) * 1000), 1)
    with pytest.raises(NotInLog, match=r"not in .* any more: it is 5\.0 days old"):
        await course(config, name, old)
    async with appending(broker) as append:  # its work items go a day after it came, and itself a little later
        await append(f"requests.{name}", Request(old, name, Raw(b"{}")), old)
    found = await course(config, name, old)
    assert (found.dispatches, found.may_lack) == ([], [f"work.{name}.answer", f"work.{name}.claims"])


async def scheduler_topics(broker: Server) -> None:
    """The two topics of the scheduler: other tests have them too."""
    for topic in ("plans", "engines"):
        with contextlib.suppress(TopicAlreadyExistsError):
            await create_topics(broker.url, 1, topic)
        await until_known(broker, topic)


async def test_plans_reports_and_loads_are_read(broker: Server, redis: Server, tmp_path: Path) -> None:
    await scheduler_topics(broker)
    model, now_ms = unique("m"), int(time.time() * 1000)
    told = ClassReport("p.claims", 8, 8, 800, 400, 60, [30] * 8, 1.0, 5.0)
    async with appending(broker) as append:
        for version in (1, 3, 2, 3):
            plan = Plan(model, version, now_ms, f"cause {version}", {"p.claims": ["w", "w"]}, busy={"w": 1.0})
            await append("plans", plan, f"plan:{model}")
        await append("plans", Forecast(model, now_ms, {}, {"w": 1.5}), f"forecast:{model}")
        await append("plans", b"no plan", "x")
        old = EngineReport(model, "old", "engine", now_ms - 900_000, 1.0, 8, classes=[told])
        await append("engines", old, "old", at_ms=now_ms - 900_000)
        await append("engines", EngineReport(model, "w", "engine", now_ms, 1.0, 8, classes=[told]), "w")
        await append("engines", b"no report", "x")
    async with Redis.from_url(redis.url) as client:
        await client.hset(load_key(model), "w", encode(Load("w", now_ms, 2, 1, {"s": 70})))
        await client.hset(load_key(model), "v", b"no load")
    found = await read(settings_for(broker.url, tmp_path, redis=redis.url), model)
    assert (found.plans[model].version, found.plans[model].cause) == (3, "cause 3")
    assert found.forecasts[model].speeds == {"w": 1.5}
    assert found.loads[model] == {"w": Load("w", now_ms, 2, 1, {"s": 70})}
    assert found.statistics.classes(model, now_ms)["p.claims"].calls >= 8
    assert "w" in found.statistics.workers(model, now_ms)
    (port,) = free_ports(1)
    found = await read(settings_for(broker.url, tmp_path, redis=f"redis://u:secret@{HOST}:{port}/0"), model)
    assert found.loads == {}
    assert found.without_loads == f"redis at redis://{HOST}:{port}/0: ConnectionError"


async def read(config: Settings, model: str) -> SchedulerState:
    return await known(config, [], [model])


async def test_the_commands_say_which_broker_is_away(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    for arguments in (["show"], ["explain", new_request_id()]):
        asked = await asyncio.create_subprocess_exec(
            *COMMAND,
            "scheduler",
            *arguments,
            env=environment({"ALTO_BROKER": f"kafka://user:secret@{HOST}:{port}"}),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await asyncio.wait_for(asked.communicate(), 60)
        assert (asked.returncode, out) == (1, b"")
        assert error.decode().count("\n") == 1
        assert f"the broker at kafka://{HOST}:{port}: " in error.decode()
        assert "start it (`alto-streams up`) or point ALTO_BROKER at it" in error.decode()


PIPELINE = """
from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
class Ask(Record):
    prompt: str
class Line(Record):
    text: str
class Page(Record):
    count: int
pipeline = Pipeline("mine", request=Ask)
@pipeline.generate(model="MODEL")
def lines(ask: Ask) -> Prompt[Line]:
    return Prompt([], ask.prompt, Lines(Line), 200)
@pipeline.gather
def page(lines: Gather[Line]) -> Page:
    return Page(len(lines))
"""


async def test_show_prints_one_object_a_model(broker: Server, redis: Server, tmp_path: Path) -> None:
    await scheduler_topics(broker)
    model = unique("m")
    (tmp_path / "mine.py").write_text(PIPELINE.replace("MODEL", model))
    env = environment({"ALTO_BROKER": broker.url, "ALTO_REDIS": redis.url, "ALTO_PIPELINES": "mine"})

    async def shown() -> tuple[int | None, bytes, bytes]:
        asked = await asyncio.create_subprocess_exec(
            *(*COMMAND, "scheduler", "show", "--json"),
            env=env,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await asyncio.wait_for(asked.communicate(), 60)
        return asked.returncode, out, error

    code, out, error = await shown()
    assert (code, out) == (1, b"")
    assert f"nothing is known of {model}: there is no plan, and no LM worker has reported".encode() in error
    async with appending(broker) as append:
        at_ms = int(time.time() * 1000)
        plan = Plan(model, 1, at_ms, "first", {"mine.lines": ["http://w:1"] * 2}, busy={"http://w:1": 1.0})
        await append("plans", plan, f"plan:{model}")
    code, out, error = await shown()
    assert code == 0, error
    (told,) = [json.loads(line) for line in out.splitlines()]
    assert told["plan"]["owners"] == {"mine.lines": {"http://w:1": 2}}
    assert told["workers"]["http://w:1"]["state"] == "unheard of"
