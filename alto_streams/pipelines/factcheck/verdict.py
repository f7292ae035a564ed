"""What the judge says of one claim, and how its few tokens become a verdict with a confidence."""

from __future__ import annotations

import math

from alto_streams.define.pipeline import ParseFailure, Parser, Record
from alto_streams.pipelines.factcheck.bearing import best, leaning
from alto_streams.pipelines.factcheck.search import Passage
from alto_streams.wire.records import TokenLogprob

YES = ("true", "correct")
NO = ("false", "wrong")
UNSURE = "unsure"
# Log-odds of `correct` over `wrong` above which a claim counts as true. A small model leans to one word whatever it is
# asked, so the even point is not zero: calibrated for SmolLM2-135M-Instruct (Q4_1), see docs/verdicts.md.
THRESHOLD = -1.35
# Odds that near to the threshold are no verdict.
MARGIN = 0.1
# The same where the evidence has only a part of what the claim names: a small model is never that sure, a large one is.
UNSETTLED_MARGIN = 1.5
MAX_LINE_CHARS = 200


class Verdict(Record):
    """A claim's verdict, null where the judge abstains: no evidence speaks of the claim, or the odds are near.

    `confidence` (0.5 to 1) is there if the engine gave log-probabilities, and the judge does not abstain.
    """

    claim: str
    verdict: bool | None
    confidence: float | None
    evidence: list[Passage]


class VerdictLine:
    """The first line that is not blank is the verdict: true, correct, false, wrong, unsure. The rest explains, unread.

    With log-probabilities, the odds of the two words at the verdict's token decide against `threshold`, not the word
    that was written; odds within `margin` of it abstain. The verdict counts when its line ends.
    """

    def __init__(
        self, claim: str, evidence: list[Passage], threshold: float | None = None, margin: float = 0.0
    ) -> None:
        self._claim = claim
        self._evidence = evidence
        self._threshold = THRESHOLD if threshold is None else threshold
        self._margin = margin
        self._line = ""
        self._odds: float | None = None
        self._seen = False
        self._done = False

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> list[Verdict | ParseFailure]:
        """The verdict, once its line has ended."""
        for token in logprobs or []:
            if not self._seen and token.token.strip():
                self._seen, self._odds = True, log_odds(token)
        for letter in text:
            if self._done:
                break
            if letter == "\n" and self._line.strip():
                return self.close()
            if len(self._line) <= MAX_LINE_CHARS:
                self._line = (self._line + letter).lstrip()
        return []

    def close(self) -> list[Verdict | ParseFailure]:
        """The verdict, if its line had not ended yet."""
        if self._done:
            return []
        self._done = True
        word = self._line.strip().strip(".!*\"'").lower()
        if word == UNSURE:
            return [Verdict(self._claim, None, None, self._evidence)]
        if word not in YES + NO:
            return [ParseFailure("the first line is no verdict" if word else "no verdict was written")]
        if self._odds is None:
            return [Verdict(self._claim, word in YES, None, self._evidence)]
        beyond = self._odds - self._threshold
        if abs(beyond) < self._margin:
            return [Verdict(self._claim, None, None, self._evidence)]
        confidence = 1 / (1 + math.exp(-min(abs(beyond), 50.0)))
        return [Verdict(self._claim, beyond > 0, round(confidence, 3), self._evidence)]

    def coarse(self) -> Parser[Verdict]:
        return self


def verdict_line(claim: str, evidence: list[Passage]) -> VerdictLine:
    """Reads the verdict of a claim by the passage that `best` chooses, which is shown first.

    The words of claim and passage lean the judge one way or the other: it is a small model, and says little more than
    which of two claims of one form is likelier.
    """
    found = best(claim, evidence)
    if found is None:
        return VerdictLine(claim, evidence)
    shown = [found, *(passage for passage in evidence if passage is not found)]
    lean = leaning(claim, found.text)
    if lean is None:
        return VerdictLine(claim, shown, THRESHOLD, UNSETTLED_MARGIN)
    return VerdictLine(claim, shown, THRESHOLD - lean, MARGIN)


def log_odds(token: TokenLogprob) -> float | None:
    """How much likelier a yes is than a no at this token, in nats; None if neither is among its alternatives.

    A word that is missing from the alternatives is at most as likely as the least of them, and counts as that.
    """
    found: dict[bool, float] = {}
    for text, logprob in token.top.items():
        word = text.strip().lower()
        if math.isfinite(logprob) and word in YES + NO:
            found[word in YES] = max(found.get(word in YES, -math.inf), logprob)
    if not found:
        return None
    least = min((logprob for logprob in token.top.values() if math.isfinite(logprob)), default=0.0)
    return found.get(True, least) - found.get(False, least)
