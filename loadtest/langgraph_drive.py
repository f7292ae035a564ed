"""An open load of the reference workload on the LangGraph twin: `python -m loadtest.langgraph_drive --help`.

Engines, graph and load share one event loop, as a LangGraph program with its clients would, with no network between.
With `--bare` the same nodes run under plain asyncio: what that costs less of CPU time is what LangGraph costs.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from langgraph.runtime import Runtime

from alto_streams.models.scripted import ScriptedEngine
from alto_streams.models.simulated import Timing
from loadtest import langgraph_twin as twin
from loadtest.langgraph_run import ENDED_S, Outcome
from loadtest.reference.pipeline import Search
from loadtest.reference.script import load_script
from loadtest.reference.workload import ReferenceRequest, arrivals, load_workload
from loadtest.samples import Sample

ENGINES = 4
UNTRACED = dict.fromkeys(
    ["LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"], "false"
)
"""Nothing is sent to LangSmith, whatever the environment says."""

Ask = Callable[[str, "Heard"], Awaitable[None]]
"""Answers a prompt, and lets be heard what a client hears of it."""


class Heard:
    """What a client has heard of one request so far, checked against what was recorded. `due`: by the loop's clock."""

    def __init__(self, request: ReferenceRequest, sample: Sample, due: float) -> None:
        self._expected = request.claims
        self._sample = sample
        self._due = due
        self._seen: set[int] = set()

    def token(self) -> None:
        """A token of the answer."""
        if self._sample.ttft_s is None:
            self._sample.ttft_s = self._after_s()

    def verdicts(self, judged: Sequence[twin.Judged]) -> None:
        """The end of one or several verdict calls."""
        sample = self._sample
        for each in judged:
            place = each["place"]
            sample.repeated += place in self._seen
            self._seen.add(place)
            expected = self._expected[place] if place < len(self._expected) else None
            sample.wrong += expected is None or (each["claim"], each["label"]) != (expected.text, expected.label)
            sample.last_verdict_s = sample.done_s = self._after_s()
            if sample.first_verdict_s is None:
                sample.first_verdict_s = sample.last_verdict_s

    def report(self, labels: Sequence[bool | None]) -> None:
        """The end of the request."""
        if list(labels) != [claim.label for claim in self._expected]:
            self._sample.error = "its report has other labels than were recorded"

    def settle(self) -> None:
        """Nothing more will come."""
        self._sample.missing = sum(place not in self._seen for place in range(len(self._expected)))

    def _after_s(self) -> float:
        return asyncio.get_running_loop().time() - self._due


def by_graph(services: twin.Services) -> Ask:
    """Each request is a run of the twin, whose streams are listened to."""
    graph = twin.request_graph()

    async def ask(prompt: str, heard: Heard) -> None:
        run = graph.astream(
            twin.Request(prompt=prompt), context=services, stream_mode=["custom", "updates"], version="v2"
        )
        async for part in run:
            if part["type"] == "custom":
                heard.token()
            elif part["type"] == "updates":
                for node, update in part["data"].items():
                    if node == "check_claim":
                        heard.verdicts(update["verdicts"])
                    elif node == "report":
                        heard.report(update["labels"])

    return ask


def bare(services: twin.Services) -> Ask:
    """Each request runs the twin's nodes in the same order, with no graph around them."""

    async def ask(prompt: str, heard: Heard) -> None:
        runtime = Runtime(context=services, stream_writer=lambda token: heard.token())

        async def check(place: int, claim: str) -> list[twin.Judged]:
            state: Any = {"place": place, "claim": claim}
            state |= await twin.queries(state, runtime)
            found = await asyncio.gather(
                *(twin.search(twin.QueryRequest(query=query), runtime) for query in state["queries"])
            )
            state["passages"] = [text for each in found for text in each["passages"]]
            judged: list[twin.Judged] = (await twin.verdict(state, runtime))["verdicts"]
            heard.verdicts(judged)
            return judged

        state: Any = {"prompt": prompt}
        state |= await twin.answer(state, runtime)
        state |= await twin.claims(state, runtime)
        checked = await asyncio.gather(*(check(place, claim) for place, claim in enumerate(state["claims"])))
        state["verdicts"] = [each for judged in checked for each in judged]
        heard.report((await twin.report(state))["labels"])

    return ask


async def offer(ask: Ask, requests: Sequence[ReferenceRequest], rate: float, count: int, seed: int) -> list[Sample]:
    """`count` requests at seeded Poisson instants, `rate` a second, whatever becomes of those before; in order."""
    loop, samples = asyncio.get_running_loop(), list[Sample]()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for at_s, request in arrivals(list(requests), rate, count, seed):
            await asyncio.sleep(began + at_s - loop.time())
            sample = Sample(request.id, at_s, late_s=loop.time() - began - at_s)
            samples.append(sample)
            group.create_task(_follow(ask, request, sample, began + at_s))
    return samples


async def _follow(ask: Ask, request: ReferenceRequest, sample: Sample, due: float) -> None:
    heard = Heard(request, sample, due)
    try:
        async with asyncio.timeout(ENDED_S):
            await ask(request.prompt, heard)
    except Exception as error:  # whatever a node raised; the other requests go on
        sample.error = f"{type(error).__name__}: {error}"
    heard.settle()


async def run(
    recording: Path, rate: float, count: int, seed: int, *, without_graph: bool
) -> tuple[list[Sample], float]:
    """The samples of one load on fresh engines, and the CPU seconds that it took."""
    requests, script = load_workload(recording), load_script(recording)
    random.seed(seed)  # the searches' times
    engines = [ScriptedEngine(script, name=f"engine-{n}", timing=Timing()) for n in range(ENGINES)]
    services = twin.Services(twin.Models(engines), Search())
    ask = bare(services) if without_graph else by_graph(services)
    began_s = time.process_time()
    samples = await offer(ask, requests, rate, count, seed)
    spent_s = time.process_time() - began_s
    await asyncio.gather(*(engine.close() for engine in engines))
    return samples, spent_s


def main(
    recording: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="What the requests are drawn from.")],
    json_file: Annotated[Path, typer.Option("--json", help="Write the samples and the CPU time to this file.")],
    rate: Annotated[float, typer.Option(min=0.01, help="Requests a second.")] = 1.0,
    count: Annotated[int, typer.Option(min=1, help="Requests.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 1,
    without_graph: Annotated[bool, typer.Option("--bare", help="The same nodes without LangGraph.")] = False,
) -> None:
    """Offer requests of the reference workload to its LangGraph twin, whatever becomes of those before."""
    os.environ.update(UNTRACED)
    samples, cpu_s = asyncio.run(run(recording, rate, count, seed, without_graph=without_graph))
    outcome = Outcome(
        langgraph=version("langgraph"),
        bare=without_graph,
        rate=rate,
        count=count,
        seed=seed,
        cpu_s=round(cpu_s, 4),
        cpu_ms_per_request=round(1000 * cpu_s / count, 3),
        max_rss_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        samples=samples,
    )
    json_file.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))


if __name__ == "__main__":
    typer.run(main)
