"""How the requests of a pipeline are shown and written: defaults for any pipeline, and what one may change. Pure.

    class Summaries(View):
        text_name = "summary"

    pipeline = Pipeline("summaries", request=Topic, view=Summaries())

A view reads a `Transcript` and says what it means; it draws nothing and knows no terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from alto_streams.views.timeline import Bar
from alto_streams.views.transcript import Item, Transcript
from alto_streams.wire.records import Status

MOST_CHARS = 160


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is known by now. `key` names it as long as it is not withdrawn.

    `label` is the first word of its line, such as the stage; `text` is the line. A row that is not `is_final` yet is
    announced by its `name`; once it is withdrawn it is called by that too, where it has no final text.
    """

    key: str
    label: str
    text: str
    name: str
    is_final: bool = True


class View:
    """What is shown of any pipeline; a subclass changes what it knows better.

    `text_name`: what the streamed text is, such as `answer`. `styles`: words that begin a row's text, with the style
    (of rich) that a terminal gives them.
    """

    text_name: str = "text"
    styles: Mapping[str, str] = {}

    def rows(self, transcript: Transcript) -> list[Row]:
        """Everything that is known by now but the text, in the order in which it shall stand."""
        return [_row(item) for item in transcript.items.values()]

    def result(self, transcript: Transcript) -> list[str]:
        """Lines for the end, above the timeline."""
        shown = msgspec.json.format(msgspec.json.encode(transcript.result), indent=2).decode()
        return ["Result", *(f"  {line}" for line in shown.split("\n"))]

    def marks(self, transcript: Transcript) -> list[tuple[str, float | None]]:
        """The moments worth naming, in seconds since the submission; None for what never came."""
        return [("first token", transcript.first_token_s), ("done", transcript.done_s)]

    def bars(self, transcript: Transcript) -> list[Bar]:
        """The timeline: here from the first that was heard of each stage to the last."""
        return [Bar(stage, span.first_s, span.last_s) for stage, span in transcript.spans.items()]

    def columns(self, transcript: Transcript) -> dict[str, Any]:
        """Fields that `run` writes beside those of any pipeline (`id`, `status`, `result`, ...); here the text."""
        return {self.text_name: transcript.text} if transcript.speeches else {}


def one_line(text: str, most: int = MOST_CHARS) -> str:
    """The text without line breaks and control characters, cut to `most` characters."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= most else flat[: most - 3] + "..."


def _row(item: Item) -> Row:
    name = f"{item.stage} {item.path}"
    if item.line is None or item.line[0] != item.status:
        item.line = item.status, f"{item.path} {_told(item)}"
    return Row(name, item.stage, item.line[1], name)


def _told(item: Item) -> str:
    value = "" if item.value is None else one_line(msgspec.json.encode(item.value).decode())
    if item.status == Status.OK:
        return value
    return f"{value} {item.status}{f': {item.cause}' if item.cause else ''}".strip()
