"""The fact-check pipeline on a real model, mode by mode: the order of the modes, not how fast they are.

One request at a time, the modes in turn on the same questions, on Apache Kafka. Both modes are made to write at least a
claim a sentence, but what a model writes is its own: the number of claims that were judged stands beside each figure.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alto_streams.client import Client
from alto_streams.pipelines.factcheck.prompts import DEMO_QUESTION
from alto_streams.wire.records import EventKind, Mode
from loadtest.kafka import kafka_version
from loadtest.machine import commit, machine
from loadtest.systems import Care, system

QUESTIONS = (
    DEMO_QUESTION,
    "What should I know about Italy, Brazil and India?",
    "What should I know about Spain, Chile and Norway?",
    "What should I know about Greece, Mexico and Vietnam?",
)
PIPELINE, STARTS_S = "factcheck", 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One request, in seconds since it was sent."""

    ttft_s: float
    answered_s: float
    first_verdict_s: float
    last_verdict_s: float
    done_s: float
    verdicts: int


async def measure_real(engine: str, questions: Sequence[str], tick: Callable[[str], None]) -> dict[str, Any]:
    """By mode: means over the questions. `verdict_first` is the stream, with each verdict taken as it comes.

    `engine`: that of both models, as in ALTO_MODELS.

    Raises:
        Unavailable: this machine cannot run Apache Kafka.
        PartFailed: a part did not start, the engine among them.
        ValueError: a request was answered with no verdict.
    """
    before, models = machine(), {"chat": engine, "judge": engine}
    with tempfile.TemporaryDirectory(prefix="alto-real-", ignore_cleanup_errors=True) as name:
        tick("starting")
        modules = "alto_streams.pipelines.factcheck"
        async with (
            system(Path(name), modules, models, Care(partitions=2), workers=1) as running,
            Client([running.gateway], give_up_s=STARTS_S) as client,
        ):
            tick("warm-up")
            await _ask(client, questions[0], Mode.STREAM)
            heard: dict[Mode, list[Heard]] = {Mode.BARRIER: [], Mode.STREAM: []}
            for number, question in enumerate(questions, 1):
                for mode, seen in heard.items():
                    tick(f"{mode}, question {number}")
                    seen.append(await _ask(client, question, mode))
    return {
        "engine": engine,
        "real": True,
        "modes": {
            "barrier": _figures(heard[Mode.BARRIER], "done_s"),
            "stream": _figures(heard[Mode.STREAM], "done_s"),
            "verdict_first": _figures(heard[Mode.STREAM], "last_verdict_s"),
        },
        "machine": before,
        "commit": commit(),
        "settings": {"questions": len(questions), "in_flight": 1, "broker": f"Apache Kafka {kafka_version()}"},
    }


async def _ask(client: Client, question: str, mode: Mode) -> Heard:
    loop = asyncio.get_running_loop()
    sent, verdicts = loop.time(), list[float]()
    ttft_s = answered_s = None
    request = await client.submit(PIPELINE, {"prompt": question}, mode)
    async for event in client.events(request):
        after_s = loop.time() - sent
        if event.kind is EventKind.CHUNK and ttft_s is None:
            ttft_s = after_s
        elif event.kind is EventKind.CLOSE and event.stage == "answer":
            answered_s = after_s
        elif event.kind is EventKind.ITEM and event.stage == "verdict":
            verdicts.append(after_s)
    if not verdicts or ttft_s is None or answered_s is None:
        raise ValueError(f"the model gave no verdict in mode {mode}")
    return Heard(ttft_s, answered_s, verdicts[0], verdicts[-1], loop.time() - sent, len(verdicts))


def _figures(heard: Sequence[Heard], latency: str) -> dict[str, float]:
    means = {name: statistics.fmean(getattr(each, name) for each in heard) for name in Heard.__slots__}
    chosen = ("ttft_s", "answered_s", "first_verdict_s", "verdicts")
    per_verdict = [getattr(each, latency) / each.verdicts for each in heard]
    return {
        "mean_s": round(means[latency], 3),
        "per_verdict_s": round(statistics.fmean(per_verdict), 3),
        **{name: round(means[name], 3) for name in chosen},
    }
