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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alto_streams.models.local import LocalServer
from alto_streams.models.openai import OpenAIEngine
from alto_streams.pipelines.factcheck import PASSAGES_PER_QUERY, prompts
from alto_streams.pipelines.factcheck.bearing import best, leaning
from alto_streams.pipelines.factcheck.search import open_search
from alto_streams.pipelines.factcheck.verdict import MARGIN, THRESHOLD, UNSETTLED_MARGIN, YES, VerdictLine, log_odds
from loadtest.claimset import RELATIONS, Labelled, claim_sets

AT_ONCE = 2
SILENCE_S = 300.0
QUERIES = 2  # of the pipeline, per claim


class Unjudged(Exception):
    """The engine gave no log-odds for a claim."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of one claim: the log-odds of yes over no, what its words lean, whether a yes was written.

    `odds` is None where no passage speaks of the claim: then the judge is not asked.
    """

    odds: float | None
    lean: float = 0.0
    word: bool = False
    margin: float = MARGIN

    @property
    def score(self) -> float:
        """What is held against the threshold."""
        return (self.odds or 0.0) + self.lean


async def judge(engine: OpenAIEngine, claims: Sequence[Labelled]) -> list[Judged]:
    """Judges each claim with the pipeline's own search, prompt and parser."""
    gate = asyncio.Semaphore(AT_ONCE)
    search = open_search()

    async def one(claim: str) -> Judged:
        async with gate:
            evidence = await search.search(claim, QUERIES * PASSAGES_PER_QUERY)
            found = best(claim, evidence)
            if found is None:
                return Judged(None)
            call = prompts.verdict(claim, evidence, VerdictLine(claim, evidence)).call()
            text, odds = "", None
            async for piece in engine.generate(call):
                text += piece.text
                for token in piece.logprobs or []:
                    odds = log_odds(token) if odds is None and token.token.strip() else odds
            if odds is None:
                raise Unjudged(f"{engine.name}: no log-probabilities of the verdict's words")
            lean = leaning(claim, found.text)
            return Judged(odds, lean or 0.0, text.strip().lower() in YES, UNSETTLED_MARGIN if lean is None else MARGIN)

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


def figures(held: Sequence[Labelled], judged: Sequence[Judged], threshold: float) -> dict[str, Any]:
    """What the report says of the held-out claims. Abstentions are neither right nor wrong, and are given apart."""
    asked = [(each, claim.label) for each, claim in zip(judged, held, strict=True) if each.odds is not None]
    scores, labels = [each.score for each, _ in asked], [label for _, label in asked]
    odds = [each.odds or 0.0 for each, _ in asked]
    rows = [(_said(each, THRESHOLD), claim) for each, claim in zip(judged, held, strict=True)]
    decided = [(said, claim) for said, claim in rows if said is not None]
    pairs = [(said, claim.label) for said, claim in decided]
    return {
        "accuracy_of_verdicts": round(_right(decided), 3),
        "abstained": round(1 - len(decided) / len(rows), 3),
        "abstained_without_evidence": round(1 - len(asked) / len(rows), 3),
        "accuracy_at_calibrated_threshold_without_margin": round(accuracy(scores, labels, threshold), 3),
        "accuracy_of_the_written_word": round(sum(each.word == label for each, label in asked) / len(asked), 3),
        "auc_of_odds_alone": round(area(odds, labels), 3),
        "auc_of_words_alone": round(area([each.lean for each, _ in asked], labels), 3),
        "auc": round(area(scores, labels), 3),
        "threshold": round(threshold, 3),
        "default_threshold": THRESHOLD,
        "confusion": {
            "true_as_true": pairs.count((True, True)),
            "true_as_false": pairs.count((False, True)),
            "false_as_false": pairs.count((False, False)),
            "false_as_true": pairs.count((True, False)),
        },
        "by_relation": {
            relation: round(_right([row for row in decided if row[1].relation == relation]), 3)
            for relation in RELATIONS
        },
    }


def _said(judged: Judged, threshold: float) -> bool | None:
    """The verdict as the pipeline gives it; None where it abstains."""
    beyond = judged.score - threshold
    return None if judged.odds is None or abs(beyond) < judged.margin else beyond > 0


def _right(decided: Sequence[tuple[bool | None, Labelled]]) -> float:
    return sum(said == claim.label for said, claim in decided) / max(1, len(decided))


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
    known = [(each.score, claim.label) for each, claim in zip(seen, calibrating, strict=True) if each.odds is not None]
    threshold = calibrate([score for score, _ in known], [label for _, label in known])
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
