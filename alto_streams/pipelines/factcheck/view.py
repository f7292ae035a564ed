"""How fact checks are shown: a request's events as claims with their verdicts and evidence. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alto_streams.views import Bar, Item, Row, Transcript, View
from alto_streams.views.view import one_line
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
        """TRUE, FALSE, UNSURE where the judge abstained, or why there is no verdict at all."""
        if self.status == WAITING:
            return "..."
        if self.verdict is None:
            return "UNSURE" if self.status == Status.OK else "NO VERDICT"
        return str(self.verdict).upper()

    @property
    def text(self) -> str:
        """`FALSE 0.93  the claim`, or what kept it from a verdict."""
        sure = "" if self.confidence is None else f" {self.confidence:.2f}"
        why = f" ({self.status}: {self.cause})" if self.cause else ""
        return f"{self.word}{sure}  {self.claim}{why}"


class FactcheckView(View):
    """Claims as they are found and judged; at the end each with its evidence."""

    text_name = "answer"
    styles = {"TRUE": "bold green", "FALSE": "bold red", "UNSURE": "yellow", "NO VERDICT": "yellow", "...": "dim"}

    def rows(self, transcript: Transcript) -> list[Row]:
        """A row for each claim: announced when it is found, final once it is judged."""
        return [_row(claim) for claim in claims_of(transcript)]

    def result(self, transcript: Transcript) -> list[str]:
        """The claims in the order of the answer, each with its evidence below."""
        found = claims_of(transcript)
        if not found:
            return ["No claim was found in the answer."]
        lines = [f"Claims ({len(found)})"]
        for number, claim in enumerate(found, 1):
            lines.append(f"  {number}. {claim.text}")
            lines += [f"       {each['source']}: {one_line(each['text'])}" for each in claim.evidence]
        return lines

    def marks(self, transcript: Transcript) -> list[tuple[str, float | None]]:
        """From the first token to the last verdict."""
        return marks_of(transcript)

    def bars(self, transcript: Transcript) -> list[Bar]:
        """The answer, then each claim from when it was found until it was judged."""
        return bars_of(transcript)

    def columns(self, transcript: Transcript) -> dict[str, Any]:
        """The answer, and the claims of the report."""
        result = transcript.result if isinstance(transcript.result, dict) else {}
        return {"answer": transcript.text, "claims": list(result.get("claims", []))}


def _row(claim: ClaimView) -> Row:
    judged = claim.status != WAITING
    return Row(claim.path, "verdict" if judged else "claim", claim.text, claim.claim, judged)


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
