"""What is shown once a request has ended: lines of plain text, without control codes. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from alto_streams.cli.factcheck_view import ClaimView, bars_of, claims_of, marks_of
from alto_streams.cli.options import FACTCHECK as FACTCHECK
from alto_streams.views.timeline import Bar, gantt, seconds
from alto_streams.views.transcript import Transcript


def summary_lines(pipeline: str, transcript: Transcript, width: int) -> list[str]:
    """The result, and a timeline relative to the submission. Of a pipeline without a view of its own: as JSON."""
    lines = _claims(transcript) if pipeline == FACTCHECK else _result(transcript.result)
    lines += ["", "Timeline (seconds since the submission)"]
    marks = marks_of(transcript) if pipeline == FACTCHECK else _marks(transcript)
    lines += [f"  {name:<14} {seconds(at_s):>9}" for name, at_s in marks]
    bars = bars_of(transcript) if pipeline == FACTCHECK else _bars(transcript)
    lines += ["", *(f"  {line}" for line in gantt(bars, width - 2))]
    if transcript.early:
        lines += ["", "The request ended early: what was known by then was enough"]
    if transcript.status != "ok":
        cause = f": {transcript.cause}" if transcript.cause else ""
        lines += ["", f"The request ended {transcript.status}{cause}"]
    return lines


def verdict_text(claim: ClaimView) -> str:
    """`FALSE 0.93  the claim`, or what kept it from a verdict."""
    sure = "" if claim.confidence is None else f" {claim.confidence:.2f}"
    why = f" ({claim.status}: {claim.cause})" if claim.cause else ""
    return f"{claim.word}{sure}  {claim.claim}{why}"


def _claims(transcript: Transcript) -> list[str]:
    found = claims_of(transcript)
    if not found:
        return ["No claim was found in the answer."]
    lines = [f"Claims ({len(found)})"]
    for number, claim in enumerate(found, 1):
        lines.append(f"  {number}. {verdict_text(claim)}")
        lines += [f"       {each['source']}: {one_line(each['text'])}" for each in claim.evidence]
    return lines


def one_line(text: str, most: int = 160) -> str:
    """The text without line breaks and control characters, cut to `most` characters."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= most else flat[: most - 3] + "..."


def _result(result: Any) -> list[str]:
    return ["Result", *(f"  {line}" for line in _json(result).splitlines())]


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _marks(transcript: Transcript) -> list[tuple[str, float | None]]:
    return [("first token", transcript.first_token_s), ("done", transcript.done_s)]


def _bars(transcript: Transcript) -> list[Bar]:
    return [Bar(stage, span.first_s, span.last_s) for stage, span in transcript.spans.items()]
