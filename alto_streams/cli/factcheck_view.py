"""The fact-check pipeline's events as claims with their verdicts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alto_streams.views.timeline import Bar
from alto_streams.views.transcript import Item, Transcript
from alto_streams.wire.paths import is_under
from alto_streams.wire.records import Status

WAITING = "waiting"


@dataclass(slots=True)
class ClaimView:
    """One claim and what became of it. `status`: `waiting`, `ok`, or how it failed; times: since the submission.

    `path`: where it stands in its request, which names it as long as it is not withdrawn.
    """

    claim: str
    path: str = ""
    verdict: bool | None = None
    confidence: float | None = None
    status: str = WAITING
    cause: str | None = None
    evidence: list[dict[str, Any]] = field(default_factory=list)
    claimed_s: float | None = None
    judged_s: float | None = None

    @property
    def word(self) -> str:
        """TRUE, FALSE, or why there is neither."""
        if self.status == WAITING:
            return "..."
        return "NO VERDICT" if self.verdict is None else str(self.verdict).upper()


def claims_of(transcript: Transcript) -> list[ClaimView]:
    """Every claim heard of so far, in the order of the answer; failed calls of the claims stage among them."""
    judged = transcript.of("verdict")
    found = [_claim(item, _verdict_of(item, judged)) for item in transcript.of("claims")]
    if isinstance(transcript.result, dict):
        _complete(found, transcript.result.get("claims", []))
    if transcript.early:
        for view in found:
            if view.status == WAITING:
                view.status, view.cause = Status.CANCELLED, "the request ended early"
    return found


def bars_of(transcript: Transcript) -> list[Bar]:
    """The timeline: from the first that was heard of each part to its end."""
    found = claims_of(transcript)
    bars = []
    if transcript.first_token_s is not None:
        end_s = transcript.text_end_s or transcript.spans["answer"].last_s
        bars.append(Bar("answer", transcript.first_token_s, end_s))
    for number, claim in enumerate(found, 1):
        if claim.claimed_s is not None:
            bars.append(Bar(f"claim {number}", claim.claimed_s, claim.judged_s or transcript.done_s or claim.claimed_s))
    return bars


def marks_of(transcript: Transcript) -> list[tuple[str, float | None]]:
    """The moments worth naming, in seconds since the submission; None for what never came."""
    found = claims_of(transcript)
    claimed = [claim.claimed_s for claim in found if claim.claimed_s is not None]
    judged = [claim.judged_s for claim in found if claim.judged_s is not None]
    return [
        ("first token", transcript.first_token_s),
        ("first claim", min(claimed, default=None)),
        ("first verdict", min(judged, default=None)),
        ("answer end", transcript.text_end_s),
        ("last verdict", max(judged, default=None)),
        ("done", transcript.done_s),
    ]


def _claim(item: Item, judged: Item | None) -> ClaimView:
    text = (item.value or {}).get("claim", "(a claim that could not be read)")
    view = ClaimView(text, item.path, claimed_s=item.at_s)
    if item.status != Status.OK:
        view.status, view.cause = item.status, item.cause
    elif judged is not None:
        value = judged.value or {}
        view.status, view.cause, view.judged_s = judged.status, judged.cause, judged.at_s
        view.verdict, view.confidence = value.get("verdict"), value.get("confidence")
        view.evidence = value.get("evidence") or []
    return view


def _verdict_of(claim: Item, judged: list[Item]) -> Item | None:
    own = [item for item in judged if is_under(item.path, claim.path)]
    return next((item for item in own if item.value is not None), own[0] if own else None)


def _complete(found: list[ClaimView], reported: list[dict[str, Any]]) -> None:
    """What the report says of claims that were not judged: the cause, where no event told it."""
    readable = [view for view in found if view.status == WAITING]
    for view in readable:
        of = next((each for each in reported if each["claim"] == view.claim), None)
        if of is not None:
            view.status, view.cause, view.verdict = of["status"], of.get("cause"), of.get("verdict")
            view.confidence, view.evidence = of.get("confidence"), of.get("evidence") or []
