"""Plans on a real broker: who owns what is what the plan says, and changes only when the plan does.

Two accounts count: the assignor's log, and the group's own description, which has each member's URL and partitions.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError
from faust.assignor.client_assignment import ClientMetadata

from alto_streams.agents.scheduler.plan_feed import PlanFeed
from alto_streams.log import topic_admin
from alto_streams.log.topics_file import load_topics
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.wire.plans import ClassReport, EngineReport, Plan
from alto_streams.wire.records import encode
from alto_streams.wire.topic_names import class_of, engines_topic, model_app, plan_key, plans_topic
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import HOST, Server
from tests.broker.faust_apps import until
from tests.e2e.systems import Process, process

MODEL, GROUP = "judge", model_app("judge")
CLASSES = ["factcheck.claims", "factcheck.queries", "factcheck.verdict"]
PARTITIONS = 24
SESSION_S = 6.0
START_S = 90.0  # for several Python processes at once on a small machine, beside other tests

Owners = dict[str, list[str]]  # prompt class -> the worker of each partition


@dataclass
class Fleet:
    """LM workers of one model by their URLs, and what a test sees of them."""

    workers: dict[str, Process]
    feed: PlanFeed
    admin: AIOKafkaAdminClient
    producer: AIOKafkaProducer

    async def owners(self) -> Owners | None:
        """As the broker has it; None in the middle of a rebalance."""
        try:
            (response,) = await self.admin.describe_consumer_groups([GROUP])
        except KafkaError:  # a new broker has no coordinator at first
            return None
        _, _, state, _, _, members, *_ = response.groups[0]
        if state != "Stable":
            return None
        found: Owners = {name: [""] * PARTITIONS for name in CLASSES}
        for *_, assigned in members:
            assignment = ConsumerProtocolMemberAssignment.decode(assigned)
            url = ClientMetadata.loads(zlib.decompress(assignment.user_data)).url
            for topic, partitions in assignment.assignment:
                for partition in partitions:
                    found[class_of(topic)][partition] = url
        return found

    async def wait_owned(self, owners: Owners) -> None:
        """Until the group's members own this."""
        end_s = time.monotonic() + START_S
        while (found := await self.owners()) != owners:
            assert time.monotonic() < end_s, f"{found}\n{self.said()}"
            await asyncio.sleep(0.1)

    @property
    def version(self) -> int:
        """The newest plan's: the topic is other tests' as well."""
        known = self.feed.plans.get(MODEL)
        return 0 if known is None else known.version

    async def publish(self, plan: Plan) -> None:
        """As the scheduler does."""
        await self.producer.send_and_wait(plans_topic(), encode(plan), plan_key(MODEL).encode())

    def assigned(self) -> list[str]:
        """What the assignor's log says of each assignment, whoever led: its plan, and who has how much."""
        return re.findall(rf"{re.escape(GROUP)}: ((?:no plan|plan \d+): .*)", self.said())

    def said(self) -> str:
        """All logs."""
        return "\n".join(worker.said() for worker in self.workers.values())


@pytest.fixture(scope="module")
def workers(_kafka: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    """Three LM workers by their URLs, each with an engine of its own."""
    folder = tmp_path_factory.mktemp("judges")
    asyncio.run(topic_admin.apply(_kafka.url, load_topics().specs))
    with ExitStack() as stack:
        started: dict[str, Process] = {}
        for port in free_ports(3):
            env = environment(_kafka, folder) | {"ALTO_WORKER_PORT": str(port)}
            worker = process(f"lm-{port}", ["worker", "--model", MODEL], folder, env)
            started[f"http://{HOST}:{port}"] = stack.enter_context(worker)
        yield started
        for each in started.values():  # all at once: each that leaves alone costs the others a rebalance
            os.kill(each.pid, signal.SIGTERM)


@pytest.fixture
async def judges(_kafka: Server, workers: dict[str, Process]) -> AsyncIterator[Fleet]:
    """They, once all are members."""
    servers = bootstrap_servers(_kafka.url)
    settings = Settings(_env_file=None, broker=_kafka.url)  # type: ignore[call-arg]
    admin, producer = AIOKafkaAdminClient(bootstrap_servers=servers), AIOKafkaProducer(bootstrap_servers=servers)
    await admin.start()
    await producer.start()
    made = Fleet(workers, PlanFeed.of(settings, [MODEL], lambda plan: None), admin, producer)
    await made.feed.start()
    end_s = time.monotonic() + START_S
    while not (owners := await made.owners()) or {each for mine in owners.values() for each in mine} != set(workers):
        assert time.monotonic() < end_s, made.said()
        await asyncio.sleep(0.2)
    yield made
    await made.feed.stop()
    await producer.stop()
    await admin.close()


def environment(broker: Server, folder: Path) -> dict[str, str]:
    (folder / "script.jsonl").write_text('{"id": "1", "prompt": "?", "response": "!", "claims": []}\n')
    return {
        "ALTO_BROKER": broker.url,
        "ALTO_REDIS": f"redis://{HOST}:{free_ports(1)[0]}",  # nobody is there: plans go without
        "ALTO_MODELS": f"chat=scripted:{folder}/script.jsonl,judge=scripted:{folder}/script.jsonl",
        "ALTO_SESSION_TIMEOUT_S": str(SESSION_S),
        "ALTO_WARM_CLASSES": "2",
        "ALTO_VAR": str(folder / "var"),
    }


def plan_of(version: int, owners: Owners, workers: list[str], age_s: float = 0.0) -> Plan:
    """One whose weights are what its partitions are; who has one only is for calls that escape."""
    weights = {}
    for name, mine in owners.items():
        counts = {w: mine.count(w) for w in workers if mine.count(w) > 1}
        weights[name] = {w: count / sum(counts.values()) for w, count in counts.items()}
    at_ms = int((time.time() - age_s) * 1000)
    return Plan(MODEL, version, at_ms, "by hand", owners, weights, dict.fromkeys(workers, 1.0))


async def test_ownership_follows_the_plan_and_moves_once_for_each(judges: Fleet) -> None:
    a, b, c = sorted(judges.workers)
    first = judges.version + 2
    uneven = {
        "factcheck.claims": [a] * 20 + [b] * 4,
        "factcheck.queries": [b] * 23 + [c],
        "factcheck.verdict": [c, a] * 12,
    }
    assert await judges.owners() != uneven
    before = len(judges.assigned())
    await judges.publish(plan_of(first, uneven, [a, b, c]))
    await judges.wait_owned(uneven)
    said = (
        f"plan {first}: {a} has factcheck.claims 20, factcheck.verdict 12; "
        f"{b} has factcheck.claims 4, factcheck.queries 23; {c} has factcheck.queries 1, factcheck.verdict 12"
    )
    assert judges.assigned()[before:] == [said]

    await judges.publish(plan_of(first - 1, {}, [a, b, c]))  # one that is late
    await judges.publish(plan_of(first + 1, uneven, [a, b, c]))  # and a new version that changes nothing
    await until(lambda: judges.version == first + 1, "the second plan", START_S)
    swapped = uneven | {"factcheck.queries": [b] * 12 + [a] * 12}
    await judges.publish(plan_of(first + 2, swapped, [a, b, c]))
    await judges.wait_owned(swapped)
    assert [each.partition(":")[0] for each in judges.assigned()[before:]] == [f"plan {first}", f"plan {first + 2}"]


# --- what the scheduler decides, by reports of calls that nobody has made ---

VERDICTS = {"factcheck.claims": 12.0, "factcheck.queries": 12.0, "factcheck.verdict": 60.0}  # calls a second
CLAIMS = {
    "factcheck.claims": 1800.0,
    "factcheck.queries": 360.0,
    "factcheck.verdict": 360.0,
}  # so much more is soon known
NOISY = 0.2  # of a second's calls, and of their lengths
NOISE_S, AFTER_S = 12, 3  # of the noise, a scheduler that starts is unsure of who is there for some 4 s
OUTPUT, PROMPT, PREFIX = 100, 300, 250  # tokens


class Calls:
    """Reports of a mix of calls, every second, for all workers: as they would report if they had made them."""

    def __init__(self, judges: Fleet) -> None:
        self._judges = judges
        self._random = random.Random(7)
        self.mix = VERDICTS

    async def go_on(self) -> None:
        """For ever."""
        next_s = time.monotonic()
        while True:
            await self._second(int(time.time() * 1000))
            next_s += 1.0
            await asyncio.sleep(next_s - time.monotonic())

    async def _second(self, at_ms: int) -> None:
        for worker, process_ in self._judges.workers.items():
            engine = f"scripted {process_.log.parent}/script.jsonl"  # as the worker itself calls it
            paces = [(4.0, 0.01 * self._about(1.0)) for _ in range(5)]
            classes = [self._class(name, rate / len(self._judges.workers)) for name, rate in self.mix.items()]
            report = EngineReport(MODEL, worker, engine, at_ms, 1.0, slots=8, classes=classes, paces=paces)
            await self._judges.producer.send_and_wait(engines_topic(), encode(report), worker.encode())

    def _class(self, name: str, rate: float) -> ClassReport:
        n = round(self._about(rate))
        outputs = [round(self._about(OUTPUT)) for _ in range(n)]
        return ClassReport(name, n, n, n * PROMPT, n * PREFIX, PREFIX, outputs, first_token_s=0.1 * n, call_s=1.0 * n)

    def _about(self, value: float) -> float:
        return value * self._random.uniform(1 - NOISY, 1 + NOISY)


async def test_noise_makes_no_plan_and_a_shift_that_lasts_makes_one_and_one_rebalance(
    judges: Fleet, kafka: Server, tmp_path: Path
) -> None:
    a, b, c = sorted(judges.workers)
    known = judges.version + 1
    owners = {
        "factcheck.claims": [a] * 22 + [b, c],
        "factcheck.queries": [a] * 22 + [b, c],
        "factcheck.verdict": [b, c] * 11 + [b, a],
    }
    await judges.publish(plan_of(known, owners, [a, b, c], age_s=60.0))  # so the next one may come at any time
    await judges.wait_owned(owners)
    calls = Calls(judges)
    before = len(judges.assigned())
    making = asyncio.create_task(calls.go_on())
    try:
        env = environment(kafka, tmp_path) | {"ALTO_WORKER_PORT": str(free_ports(1)[0])}
        with process("scheduler", ["worker", "--scheduler"], tmp_path, env) as scheduler:
            await until(lambda: MODEL in judges.feed.forecasts, "a forecast", START_S)
            await asyncio.sleep(NOISE_S)
            assert (judges.version, judges.assigned()[before:]) == (known, []), scheduler.said()
            calls.mix = CLAIMS
            await until(lambda: judges.version > known, "a plan for the shift", START_S)
            plan = judges.feed.plans[MODEL]
            await judges.wait_owned(plan.owners)
            await asyncio.sleep(AFTER_S)
            assert not making.done()
    finally:
        making.cancel()
        with suppress(asyncio.CancelledError):
            await making
    said = re.findall(r"model judge: (plan \d+ .*)", scheduler.said())
    assert said == [f"plan {known + 1} for 3 workers: {plan.cause}"]
    assert plan.cause.startswith("gain ")
    share = {w: plan.weights["factcheck.claims"].get(w, 0.0) for w in (a, b, c)}
    assert sum(part > 0.2 for part in share.values()) >= 2, "what has become most of the work is at one worker"
    assert [each.partition(":")[0] for each in judges.assigned()[before:]] == [f"plan {known + 1}"]
    assert judges.said().count(f"plan {known + 1} ({plan.cause}) moves partitions") == 1
