"""What is shown once a request has ended: lines of plain text, without control codes. Pure."""

from __future__ import annotations

from alto_streams.views import Transcript, View
from alto_streams.views.timeline import gantt, seconds


def summary_lines(view: View, transcript: Transcript, width: int) -> list[str]:
    """The result as its pipeline shows it, and a timeline relative to the submission."""
    lines = [*view.result(transcript), "", "Timeline (seconds since the submission)"]
    lines += [f"  {name:<14} {seconds(at_s):>9}" for name, at_s in view.marks(transcript)]
    lines += ["", *(f"  {line}" for line in gantt(view.bars(transcript), width - 2))]
    if transcript.early:
        lines += ["", "The request ended early: what was known by then was enough"]
    if transcript.status != "ok":
        cause = f": {transcript.cause}" if transcript.cause else ""
        lines += ["", f"The request ended {transcript.status}{cause}"]
    return lines
