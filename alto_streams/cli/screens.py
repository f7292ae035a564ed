"""How one request is shown while it runs: on a terminal, as plain lines, or as one event a line."""

from __future__ import annotations

import re
import sys
from typing import Protocol, TextIO

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from alto_streams.cli.factcheck_view import WAITING, ClaimView, claims_of
from alto_streams.cli.summary import FACTCHECK, one_line, summary_lines, verdict_text
from alto_streams.client import ClientEvent
from alto_streams.views.transcript import Speech, Transcript
from alto_streams.wire.records import EventKind

REFRESHES_PER_S = 12
PLAIN_WIDTH = 100
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_STYLES = {"TRUE": "bold green", "FALSE": "bold red", "NO VERDICT": "yellow", "...": "dim"}


class Screen(Protocol):
    """Shows a request. Called for each event after the transcript has taken it in."""

    def __enter__(self) -> Screen: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None: ...

    def end(self, transcript: Transcript) -> None: ...


def screen_for(pipeline: str, as_json: bool = False, out: TextIO | None = None) -> Screen:
    """The screen that fits what standard output is."""
    out = out or sys.stdout
    if as_json:
        return JsonScreen(out)
    console = Console(file=out, highlight=False)
    return (
        LiveScreen(pipeline, console)
        if console.is_terminal and not console.is_dumb_terminal
        else PlainScreen(pipeline, out)
    )


class JsonScreen:
    """One event a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> JsonScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None:
        print(msgspec.json.encode(event).decode(), file=self._out, flush=True)

    def end(self, transcript: Transcript) -> None:
        pass


class PlainScreen:
    """Whole lines only, without control codes: the answer sentence by sentence, each verdict when it is known.

    What is printed cannot be taken back: a line says what is withdrawn.
    """

    def __init__(self, pipeline: str, out: TextIO, width: int = PLAIN_WIDTH) -> None:
        self._pipeline, self._out, self._width = pipeline, out, width
        self._shown: dict[tuple[str, str], tuple[int, int]] = {}
        self._claims: dict[str, ClaimView] = {}

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None:
        """Prints what is whole by now."""
        for key, speech in transcript.speeches.items():
            self._text(key, speech, at_s, is_over=speech.ended or transcript.status is not None)
        if self._pipeline == FACTCHECK:
            found = {claim.path: claim for claim in claims_of(transcript)}
            for path in [path for path in self._claims if path not in found]:
                self._line(at_s, "withdrawn", self._claims.pop(path).claim)
            for claim in found.values():
                self._claim(claim, at_s)
        elif event.kind is EventKind.ITEM and (event.stage, event.path) in transcript.items:
            value = one_line(msgspec.json.encode(event.body).decode())
            self._line(at_s, event.stage, f"{event.path} {value}")
        elif event.kind is EventKind.RETRACTED:
            first = f"{event.path}/{event.body['first']}".lstrip("/")
            self._line(at_s, "withdrawn", f"{event.stage} from {first} on, and what came of it")

    def end(self, transcript: Transcript) -> None:
        """The summary."""
        print("", *summary_lines(self._pipeline, transcript, self._width), sep="\n", file=self._out, flush=True)

    def _text(self, key: tuple[str, str], speech: Speech, at_s: float, is_over: bool) -> None:
        beginnings, shown = self._shown.get(key, (0, 0))
        if beginnings != speech.beginnings:
            if shown:
                self._line(at_s, self._name_of_text, "[the answer begins again]")
            shown = 0
        text = speech.text
        while (end := _SENTENCE_END.search(text, shown)) is not None:
            self._sentence(text[shown : end.start()], at_s)
            shown = end.end()
        if is_over and shown < len(text):
            self._sentence(text[shown:], at_s)
            shown = len(text)
        self._shown[key] = speech.beginnings, shown

    def _sentence(self, text: str, at_s: float) -> None:
        if text.strip():
            self._line(at_s, self._name_of_text, one_line(text, 1_000_000))

    @property
    def _name_of_text(self) -> str:
        return "answer" if self._pipeline == FACTCHECK else "text"

    def _claim(self, claim: ClaimView, at_s: float) -> None:
        # In the order in which they come: a late one keeps the others' lines as they were printed.
        before = self._claims.get(claim.path)
        if before is None and claim.status == WAITING:
            self._line(at_s, "claim", claim.claim)
        if before is not None and before.status != WAITING and verdict_text(before) != verdict_text(claim):
            self._line(at_s, "withdrawn", verdict_text(before))
            before = None
        if claim.status != WAITING and (before is None or before.status == WAITING):
            self._line(at_s, "verdict", verdict_text(claim))
        self._claims[claim.path] = claim

    def _line(self, at_s: float, what: str, text: str) -> None:
        print(f"{at_s:7.2f} s  {what:<8} {one_line(text, 1_000_000)}", file=self._out, flush=True)


class LiveScreen:
    """Two regions that are drawn anew: the answer as it grows, and the claims below it. Ends with the summary."""

    def __init__(self, pipeline: str, console: Console) -> None:
        self._pipeline, self._console = pipeline, console
        self._live = Live(console=console, refresh_per_second=REFRESHES_PER_S, transient=True, vertical_overflow="crop")

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None:
        """Both regions as they are now, as much of them as fits."""
        self._live.update(self._drawn(transcript, self._console.size.height))

    def end(self, transcript: Transcript) -> None:
        """Whole answer and summary, in place of the regions."""
        self._live.stop()
        self._console.print(Panel(Text(transcript.text), title="answer", title_align="left"))
        for line in summary_lines(self._pipeline, transcript, self._console.width):
            self._console.print(_coloured(line))

    def _drawn(self, transcript: Transcript, height: int) -> Group:
        claims = self._claim_lines(transcript)
        room = max(4, height - 4)
        shown = claims[-max(2, room // 2) :]
        text = Text(transcript.text).wrap(self._console, self._console.width - 4)
        tail = Text("\n").join(list(text)[-max(2, room - len(shown)) :])
        return Group(Panel(tail, title="answer", title_align="left"), *shown)

    def _claim_lines(self, transcript: Transcript) -> list[Text]:
        if self._pipeline != FACTCHECK:
            return [Text(f"{stage}: {len(transcript.of(stage))}") for stage in transcript.spans]
        most = self._console.width - 1
        return [_coloured(one_line(f"{n}. {verdict_text(c)}", most)) for n, c in enumerate(claims_of(transcript), 1)]


def _coloured(line: str) -> Text:
    text = Text(line)
    found = re.match(r"\s*\d+\. (TRUE|FALSE|NO VERDICT|\.\.\.)", line)
    if found is not None:
        text.stylize(_STYLES[found[1]], found.start(1), found.end(1))
    return text
