"""How good the local model's verdicts are: `python -m loadtest.verdicts [--n 200] [--seed 1] [--json FILE]`.

Claims are made from the bundled corpus, the evidence comes from the pipeline's own search (with the claim as the
query), prompt, engine and parser are the pipeline's. The threshold is calibrated on other claims, and what is reported
is the accuracy on claims that calibration has not seen.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alto_streams.models.local import LocalServer
from alto_streams.models.openai import OpenAIEngine
from alto_streams.pipelines.factcheck import PASSAGES_PER_QUERY, prompts
from alto_streams.pipelines.factcheck.search import open_search
from alto_streams.pipelines.factcheck.verdict import THRESHOLD, YES, VerdictLine, log_odds
from loadtest.claimset import RELATIONS, Labelled, claim_sets

AT_ONCE = 2
SILENCE_S = 300.0
QUERIES = 2  # of the pipeline, per claim


class Unjudged(Exception):
    """The engine gave no log-odds for a claim."""


async def judge(engine: OpenAIEngine, claims: Sequence[Labelled]) -> list[tuple[float, bool]]:
    """Per claim: the log-odds of yes over no, and whether the written word was a yes."""
    gate = asyncio.Semaphore(AT_ONCE)
    search = open_search()

    async def one(claim: str) -> tuple[float, bool]:
        async with gate:
            evidence = await search.search(claim, QUERIES * PASSAGES_PER_QUERY)
            call = prompts.verdict(claim, evidence, VerdictLine(claim, evidence)).call()
            text, odds = "", None
            async for piece in engine.generate(call):
                text += piece.text
                for token in piece.logprobs or []:
                    odds = log_odds(token) if odds is None and token.token.strip() else odds
            if odds is None:
                raise Unjudged(f"{engine.name}: no log-probabilities of the verdict's words")
            return odds, text.strip().lower() in YES

    return list(await asyncio.gather(*(one(labelled.claim) for labelled in claims)))


def calibrate(odds: Sequence[float], labels: Sequence[bool]) -> float:
    """The threshold of best accuracy, halfway between two neighbours; of equal ones the median."""
    ordered = sorted(odds)
    cuts = [(low + high) / 2 for low, high in itertools.pairwise(ordered)]
    scores = [accuracy(odds, labels, cut) for cut in cuts]
    best = [cut for cut, score in zip(cuts, scores, strict=True) if score == max(scores)]
    return best[len(best) // 2]


def accuracy(odds: Sequence[float], labels: Sequence[bool], threshold: float) -> float:
    """The share of claims on the right side of the threshold."""
    return sum((odd > threshold) == label for odd, label in zip(odds, labels, strict=True)) / len(labels)


def area(odds: Sequence[float], labels: Sequence[bool]) -> float:
    """Area under the ROC curve: how often a true claim has higher odds than a false one; ties count half."""
    true = [odd for odd, label in zip(odds, labels, strict=True) if label]
    false = [odd for odd, label in zip(odds, labels, strict=True) if not label]
    return sum((high > low) + 0.5 * (high == low) for high in true for low in false) / (len(true) * len(false))


def figures(held: Sequence[Labelled], judged: Sequence[tuple[float, bool]], threshold: float) -> dict[str, Any]:
    """What the report says of the held-out claims."""
    odds, labels = [odd for odd, _ in judged], [labelled.label for labelled in held]
    said = [odd > threshold for odd in odds]
    pairs = list(zip(said, labels, strict=True))
    return {
        "accuracy": round(accuracy(odds, labels, threshold), 3),
        "accuracy_by_default_threshold": round(accuracy(odds, labels, THRESHOLD), 3),
        "accuracy_of_the_written_word": round(
            sum(word == label for (_, word), label in zip(judged, labels, strict=True)) / len(labels), 3
        ),
        "auc": round(area(odds, labels), 3),
        "threshold": round(threshold, 3),
        "default_threshold": THRESHOLD,
        "confusion": {
            "true_as_true": pairs.count((True, True)),
            "true_as_false": pairs.count((False, True)),
            "false_as_false": pairs.count((False, False)),
            "false_as_true": pairs.count((True, False)),
        },
        "by_relation": {
            relation: round(
                sum(s == claim.label for s, claim in zip(said, held, strict=True) if claim.relation == relation)
                / sum(claim.relation == relation for claim in held),
                3,
            )
            for relation in RELATIONS
        },
    }


async def measure(count: int, calibration: int, seed: int) -> dict[str, Any]:
    """Start the local engine, judge both sets, stop it."""
    calibrating, held = claim_sets(calibration, count, seed)
    server = LocalServer(slots=AT_ONCE)
    running = server.start()
    engine = OpenAIEngine(f"{running.listening_address}/v1", server.model_name, slots=AT_ONCE, silence_s=SILENCE_S)
    try:
        await engine.ready()
        seen = await judge(engine, calibrating)
        began = time.perf_counter()
        judged = await judge(engine, held)
        took_s = time.perf_counter() - began
    finally:
        await engine.close()
    threshold = calibrate([odd for odd, _ in seen], [labelled.label for labelled in calibrating])
    about = {"model": server.model_name, "claims": count, "calibration_claims": calibration, "seed": seed}
    return about | figures(held, judged, threshold) | {"seconds_per_claim": round(took_s / count, 3)}


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    options = argparse.ArgumentParser(description="Measures the local model's verdicts on claims from the corpus.")
    options.add_argument("--n", type=int, default=200, help="held-out claims; true and false ones alternate")
    options.add_argument("--calibration", type=int, default=200, help="claims for the threshold, disjoint from these")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", type=Path, help="write the figures there too")
    given = options.parse_args()
    result = asyncio.run(measure(given.n, given.calibration, given.seed))
    text = json.dumps(result, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
