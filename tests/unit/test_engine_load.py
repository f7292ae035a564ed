"""What a server tells of its load, what a worker makes of it, and that nothing waits for it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, aclosing

import pytest
from prometheus_client import CollectorRegistry

from alto_streams.agents.lm import engine_load
from alto_streams.agents.lm import reports as lm_reports
from alto_streams.agents.lm.engine_load import KEPT_S, EngineWatch
from alto_streams.agents.lm.reports import Reports, telling
from alto_streams.agents.lm.tally import WORK, Tally
from alto_streams.models import metrics as pages
from alto_streams.models.metrics import load_of
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import EngineLoad, Usage
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.scheduler.dispatch import Dispatcher, Lane
from alto_streams.scheduler.placing import Ask
from alto_streams.scheduler.policies import policy
from alto_streams.wire.codec import decoder, encode
from alto_streams.wire.plans import OTHERS, Load
from tests.unit.engine_servers import METRICS, RECORDED, FakeVllm, serving, until
from tests.unit.engines import ask, run, text_of

# SGLang and llama.cpp, as their documentation prints it.
SGLANG = """\
# HELP sglang:token_usage The token usage
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 161.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.0
"""
LLAMA = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 3
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 5
"""


class Tells(ScriptedEngine):
    """An engine that says what it is told to."""

    def __init__(self) -> None:
        super().__init__(lambda *_: None)
        self.told: EngineLoad | None = None

    async def load(self) -> EngineLoad | None:
        return self.told


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("page", "load"),
    [
        (METRICS, EngineLoad(3, 0, 0.0027548209366391463, 3875, 256)),
        (SGLANG, EngineLoad(161, 7, 0.28)),
        (LLAMA, EngineLoad(2, 5)),
        ("<html>vllm:num_requests_running</html>", None),
        ("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 5.0\n", None),
        ('vllm:num_requests_running{engine="0', None),
        ("llamacpp:requests_processing NaN\n", None),
        ("llamacpp:requests_processing -3\nllamacpp:requests_deferred 1e300\n", EngineLoad(0, pages.COUNT_MOST)),
        ("", None),
    ],
)
def test_reads_what_each_kind_of_server_tells(page: str, load: EngineLoad | None) -> None:
    assert load_of(page, "m") == load


def test_sums_the_cores_of_a_server_and_its_model_alone() -> None:
    second = METRICS.replace('engine="0"', 'engine="1"').replace("0.0027548", "0.4027548")
    other = METRICS.replace('model_name="m"', 'model_name="n"')
    assert load_of(METRICS + second + other, "m") == EngineLoad(6, 0, pytest.approx(0.2027548, abs=1e-6), 7750, 512)
    assert load_of(METRICS, "an adapter of m") == load_of(METRICS, "m")  # told under the first of the server's names
    assert load_of(METRICS + other, "neither") is None


def test_the_parts_of_one_core_tell_the_same() -> None:
    line = 'sglang:num_running_reqs{dp_rank="%d",model_name="m",pp_rank="0",tp_rank="%d"} %d'
    ranks = [(0, 0, 5), (0, 1, 4), (1, 2, 7), (1, 3, 7)]
    assert load_of("\n".join(line % rank for rank in ranks), "m") == EngineLoad(12, 0)


async def test_a_server_that_does_not_tell_is_asked_again_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeVllm(others=None)
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address, "m")
        assert [await engine.load() for _ in range(5)] == [None] * 5
        assert fake.asked == 1
        await engine.close()
        monkeypatch.setattr(pages, "RARELY_S", 0.0)
        engine = OpenAIEngine(address, "m")
        assert await engine.load() is None
        fake.others = 4
        load = await engine.load()
        assert (load and load.running, fake.asked) == (4, 3)
        await engine.close()
    assert await OpenAIEngine(address).load() is None


async def test_what_others_hold_is_what_two_looks_on_end_have_seen() -> None:
    engine, tally, clock = Tells(), Tally(), Clock()
    watch, told = EngineWatch(engine, tally, clock), list[int]()
    tally.begin("p.s")
    for running, waiting in [(6, 2), (1, 0), (3, 0), (4, 1), (4, 0), (0, 0), (0, 0)]:
        engine.told = EngineLoad(running, waiting)
        await watch.look(engine)
        told.append(tally.others)
    assert told == [0, 0, 0, 2, 3, 0, 0]  # of 7, 0, 2, 4, 3, none, none


async def test_what_was_seen_counts_while_the_engine_is_silent_for_a_moment() -> None:
    engine, tally, clock = Tells(), Tally(), Clock()
    watch, registry = EngineWatch(engine, tally, clock), CollectorRegistry()
    registry.register(watch)
    assert registry.get_sample_value("alto_engine_load_running") is None
    engine.told = EngineLoad(5, 1, 0.5, 100, 60)
    await watch.look(engine)
    await watch.look(engine)
    shown = ("load_running", "load_waiting", "cache_used", "prefix_tokens_total", "prefix_hit_tokens_total")
    assert [registry.get_sample_value(f"alto_engine_{name}") for name in shown] == [5, 1, 0.5, 100, 60]
    engine.told = None
    clock.now_s += KEPT_S
    await watch.look(engine)
    assert (tally.others, registry.get_sample_value("alto_engine_load_others")) == (6, 6)
    clock.now_s += 0.1
    await watch.look(engine)
    assert (tally.others, registry.get_sample_value("alto_engine_load_others")) == (0, None)


def test_a_call_of_others_is_expected_to_take_what_its_own_do() -> None:
    tally = Tally()
    assert tally.load("w", 1, {}).work == {}
    tally.others = 3
    assert tally.load("w", 1, {}).work == {OTHERS: 3 * WORK}
    for _ in range(200):
        tally.ended(tally.begin("p.s"), Usage(80, 20))
        tally.leave()
    assert tally.load("w", 1, {}).work == {OTHERS: 3 * 30}
    report = tally.report("judge", "w", "engine x", 5, 8)
    assert (report.work, report.running) == (0, 0)  # what the worker itself holds
    tally.others = pages.COUNT_MOST
    assert decoder(Load)(encode(tally.load("w", 1, {}))).work[OTHERS] > 0


async def test_dispatch_avoids_a_server_that_others_fill() -> None:
    """Two workers, each before its own server, with the load that each would write."""
    fakes, tallies = {"w0": FakeVllm(), "w1": FakeVllm()}, dict[str, Tally]()
    dispatcher = Dispatcher("me", "m", {"s": Lane("p.s", 4)}, policy("prompt_aware"), 1)
    owned = {"w0": [0, 1], "w1": [2, 3]}
    async with AsyncExitStack() as stack:
        watches = []
        for name, fake in fakes.items():
            engine = OpenAIEngine(await stack.enter_async_context(serving(fake.app())))
            stack.push_async_callback(engine.close)
            tally = tallies[name] = Tally()
            watches.append((EngineWatch(engine, tally), engine))

        async def chosen(at_ms: int) -> set[str]:
            for watch, engine in watches * 2:
                await watch.look(engine)
            loads = [tallies[name].load(name, at_ms, {"p.s": owned[name]}) for name in fakes]
            dispatcher.loads(loads, at_ms)
            placed = [dispatcher.place(Ask("s", f"{at_ms}-{n}", "0", 1, ask(), at_ms=at_ms)) for n in range(6)]
            for n in range(6):
                dispatcher.forget(f"{at_ms}-{n}")
            return {each.receipt.chosen for each in placed if each.receipt is not None}

        assert await chosen(1_000) == {"w0", "w1"}
        fakes["w0"].others = 40
        assert await chosen(2_000) == {"w1"}
        fakes["w0"].others, fakes["w1"].others = 0, 40
        assert await chosen(3_000) == {"w0"}


async def test_its_own_calls_are_not_others() -> None:
    fake = FakeVllm()
    async with serving(fake.app()) as address:
        engine, tally = OpenAIEngine(address), Tally()
        watch = EngineWatch(engine, tally)
        fake.gate.clear()
        tally.begin("p.s")
        async with aclosing(engine.generate(ask())) as stream:
            async for _ in stream:
                break
            for others in (0, 2):
                fake.others = others
                await watch.look(engine)
                await watch.look(engine)
                assert tally.others == others
        await engine.close()


async def test_a_page_that_hangs_holds_up_neither_reports_nor_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm_reports, "REPORT_S", 0.005)
    monkeypatch.setattr(engine_load, "REPORT_S", 0.005)
    sent = list[bytes]()

    async def send(topic: str, key: bytes, value: bytes) -> None:
        sent.append(value)

    fake, tally = FakeVllm(fault="metrics hang"), Tally()
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        await engine.ready()
        reports = Reports(tally, send, "judge", "http://w:1", engine.name, 8, session_s=0.01)
        async with telling(reports, EngineWatch(engine, tally)):
            await until(lambda: fake.asked == 1, "the page was asked for")
            assert text_of(await run(engine, ask())) == RECORDED
            told = len(sent)
            await until(lambda: len(sent) > told + 3, "reports go on")
            assert fake.asked == 1  # and it has not answered since
        monkeypatch.setattr(pages, "WITHIN_S", 0.05)
        began_s = time.monotonic()
        assert await engine.load() is None
        assert 0.05 <= time.monotonic() - began_s < pages.RARELY_S
        assert await engine.load() is None
        assert fake.asked == 3  # what hangs may be busy, and tell the next time
        await engine.close()


async def test_an_engine_that_tells_no_load_is_not_asked_and_one_that_fails_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_load, "REPORT_S", 0.001)
    tasks = asyncio.all_tasks()
    async with telling(EngineWatch(ScriptedEngine(lambda *_: None), Tally())):
        assert asyncio.all_tasks() == tasks
    asked = 0

    class Fails(Tells):
        async def load(self) -> EngineLoad | None:
            nonlocal asked
            asked += 1
            raise RuntimeError("the user's own words")

    async with telling(EngineWatch(Fails(), Tally())):
        await until(lambda: asked > 3, "it is asked again")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "own words" not in caplog.text
