"""The real engines with no broker between them: their clock, scripts, prompts and parsers agree with the limit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alto_streams.define.pipeline import Gather, ParseFailure, Prompt
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.models.simulated import Timing
from loadtest.console import RECORDING
from loadtest.limit import POLICIES, limit_run
from loadtest.reference import pipeline as reference
from loadtest.reference.workload import ReferenceRequest, arrivals, load_workload
from loadtest.samples import MODES, Sample, figures
from tests.simulation.loop import ProcessLoop, Scheduler

COUNT, RATE, SEED = 200, 4.0, 2


class Driver:
    """The reference pipeline as plain tasks of one event loop, on four engines."""

    def __init__(self, policy: str) -> None:
        self._barrier = policy == "barrier"
        script = reference.script(RECORDING)
        self._engines = [ScriptedEngine(script, timing=Timing()) for _ in range(4)]
        self._calls = [0] * len(self._engines)
        self._search = reference.Search()

    async def run(self, requests: list[ReferenceRequest]) -> list[Sample]:
        samples, tasks = [], []
        for at, request in arrivals(requests, RATE, COUNT, SEED):
            samples.append(Sample(request.id, at))
            tasks.append(self._one(request, samples[-1]))
        await asyncio.gather(*tasks)
        for engine in self._engines:
            await engine.close()
        return samples

    async def _one(self, request: ReferenceRequest, sample: Sample) -> None:
        await asyncio.sleep(sample.at_s)
        answer = reference.answer(reference.Question(request.prompt))
        if self._barrier:
            sentences = [each async for each in self._items("answer", answer, sample)]
            claims = [e for s in sentences async for e in self._items("claims", reference.claims(s))]
            queries = await asyncio.gather(*(self._all("queries", reference.queries(claim)) for claim in claims))
            found = await asyncio.gather(*(self._found(each) for each in queries))
            await asyncio.gather(*(self._judge(c, f, sample) for c, f in zip(claims, found, strict=True)))
        else:
            async with asyncio.TaskGroup() as group:
                async for sentence in self._items("answer", answer, sample):
                    group.create_task(self._sentence(sentence, sample))

    async def _sentence(self, sentence: Any, sample: Sample) -> None:
        async with asyncio.TaskGroup() as group:
            async for claim in self._items("claims", reference.claims(sentence)):
                group.create_task(self._claim(claim, sample))

    async def _claim(self, claim: Any, sample: Sample) -> None:
        async with asyncio.TaskGroup() as group:
            queries = self._items("queries", reference.queries(claim))
            searches = [group.create_task(self._search.search(query.query)) async for query in queries]
        await self._judge(claim, [each.result() for each in searches], sample)

    async def _found(self, queries: list[Any]) -> list[Any]:
        return await asyncio.gather(*(self._search.search(each.query) for each in queries))

    async def _judge(self, claim: Any, found: list[Any], sample: Sample) -> None:
        prompt = reference.verdict(claim, Gather({str(n): each for n, each in enumerate(found)}))
        loop = asyncio.get_running_loop()
        async for _ in self._items("verdict", prompt):
            sample.last_verdict_s = loop.time() - sample.at_s
            if sample.first_verdict_s is None:
                sample.first_verdict_s = sample.last_verdict_s
        sample.done_s = loop.time() - sample.at_s

    async def _all(self, stage: str, prompt: Prompt[Any]) -> list[Any]:
        return [each async for each in self._items(stage, prompt)]

    async def _items(self, stage: str, prompt: Prompt[Any], sample: Sample | None = None) -> AsyncIterator[Any]:
        """The items of one call, on the engine with the fewest calls."""
        chosen = min(range(len(self._calls)), key=self._calls.__getitem__)
        self._calls[chosen] += 1
        parser = prompt.parse.coarse() if self._barrier and stage == "answer" else prompt.parse
        try:
            async for piece in self._engines[chosen].generate(prompt.call(), prompt_class=f"reference.{stage}"):
                if sample is not None and sample.ttft_s is None:
                    sample.ttft_s = asyncio.get_running_loop().time() - sample.at_s
                for item in parser.feed(piece.text):
                    assert not isinstance(item, ParseFailure)
                    yield item
        finally:
            self._calls[chosen] -= 1
        for item in parser.close():
            assert not isinstance(item, ParseFailure)
            yield item


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[ReferenceRequest]:
    monkeypatch.setenv(reference.RECORDING, str(RECORDING))
    return load_workload(RECORDING)


@pytest.mark.parametrize("policy", ["stream", "barrier"])
def test_the_real_engines_agree_with_the_limit(policy: Any, recorded: list[ReferenceRequest]) -> None:
    random.seed(SEED)  # how long searches take
    scheduler = Scheduler(random.Random(SEED), 0.0)
    loop = ProcessLoop(scheduler)
    driven = loop.run_in(loop.create_task, Driver(policy).run(recorded))
    while not driven.done():
        if scheduler.is_idle:
            assert scheduler.pass_time(), "nothing is left to happen, and requests are open"
        else:
            scheduler.step()
    assert not scheduler.errors
    limit = limit_run(policy, RATE, recorded, COUNT, SEED)
    for mode in (mode for mode in MODES if POLICIES[mode] == policy):
        real, ideal = figures([driven.result()], mode), figures([limit], mode)
        assert real.errors == ideal.errors == 0
        assert real.mean_s == pytest.approx(ideal.mean_s, rel=0.02)
        assert real.first_verdict_s == pytest.approx(ideal.first_verdict_s, rel=0.02)
        # A call that another one's token causes comes one step later than in the limit, so steps are cut differently.
        assert real.ttft_s == pytest.approx(ideal.ttft_s, abs=0.005)
