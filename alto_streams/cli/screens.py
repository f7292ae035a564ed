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

from alto_streams.cli.summary import summary_lines
from alto_streams.views import Row, Transcript, View
from alto_streams.views.transcript import Speech
from alto_streams.views.view import one_line
from alto_streams.wire.client_event import ClientEvent
from alto_streams.wire.records import EventKind

REFRESHES_PER_S = 12
PLAIN_WIDTH = 100
MOST_CHARS = 1_000_000
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Screen(Protocol):
    """Shows a request. `show` is called for each event after the transcript has taken it in."""

    def __enter__(self) -> Screen: ...

    def __exit__(self, *_: object) -> None: ...

    def begin(self, request: str, how: str) -> None:
        """The request has this id; `how` says what to do with it."""

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None: ...

    def end(self, transcript: Transcript) -> None: ...


def screen_for(view: View, as_json: bool = False, out: TextIO | None = None) -> Screen:
    """The screen that fits what standard output is."""
    out = out or sys.stdout
    if as_json:
        return JsonScreen(out)
    console = Console(file=out, highlight=False)
    is_live = console.is_terminal and not console.is_dumb_terminal
    return LiveScreen(view, console) if is_live else PlainScreen(view, out)


class JsonScreen:
    """One event a line, after one line with the request's id."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> JsonScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, request: str, how: str) -> None:
        """`{"request": ID}`: the only line that is no event."""
        self._line({"request": request})

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None:
        self._line(event)

    def end(self, transcript: Transcript) -> None:
        pass

    def _line(self, value: object) -> None:
        print(msgspec.json.encode(value).decode(), file=self._out, flush=True)


class PlainScreen:
    """Whole lines only, without control codes: the text sentence by sentence, each row when it is known.

    What is printed cannot be taken back: a line says what is withdrawn.
    """

    def __init__(self, view: View, out: TextIO, width: int = PLAIN_WIDTH) -> None:
        self._view, self._out, self._width = view, out, width
        self._shown: dict[tuple[str, str], tuple[int, int]] = {}
        self._rows: dict[str, Row] = {}

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, request: str, how: str) -> None:
        """Before anything that is heard of it."""
        self._line(0.0, "request", _told(request, how))

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None:
        """Prints what is whole by now."""
        for key, speech in transcript.speeches.items():
            self._text(key, speech, at_s, is_over=speech.ended or transcript.status is not None)
        if event.kind is not EventKind.CHUNK:
            known = {row.key: row for row in self._view.rows(transcript)}
            for gone in [key for key in self._rows if key not in known]:
                self._line(at_s, "withdrawn", self._rows.pop(gone).name)
            for row in known.values():
                self._row(row, at_s)

    def end(self, transcript: Transcript) -> None:
        """The summary."""
        print("", *summary_lines(self._view, transcript, self._width), sep="\n", file=self._out, flush=True)

    def _text(self, key: tuple[str, str], speech: Speech, at_s: float, is_over: bool) -> None:
        beginnings, shown = self._shown.get(key, (0, 0))
        if beginnings != speech.beginnings:
            if shown:
                self._line(at_s, self._view.text_name, f"[the {self._view.text_name} begins again]")
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
            self._line(at_s, self._view.text_name, text)

    def _row(self, row: Row, at_s: float) -> None:
        # In the order in which they come: a late one keeps the others' lines as they were printed.
        before = self._rows.get(row.key)
        if before is None and not row.is_final:
            self._line(at_s, row.label, row.name)
        if before is not None and before.is_final and before.text != row.text:
            self._line(at_s, "withdrawn", before.text)
            before = None
        if row.is_final and (before is None or not before.is_final):
            self._line(at_s, row.label, row.text)
        self._rows[row.key] = row

    def _line(self, at_s: float, what: str, text: str) -> None:
        print(f"{at_s:7.2f} s  {what:<8} {one_line(text, MOST_CHARS)}", file=self._out, flush=True)


class LiveScreen:
    """Two regions that are drawn anew: the text as it grows, and the rows below it. Ends with the summary."""

    def __init__(self, view: View, console: Console) -> None:
        self._view, self._console = view, console
        self._live = Live(console=console, refresh_per_second=REFRESHES_PER_S, transient=True, vertical_overflow="crop")

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, request: str, how: str) -> None:
        """Above the regions, where it stays."""
        self._console.print(Text(f"request {_told(request, how)}", style="dim"), soft_wrap=True)

    def show(self, event: ClientEvent, transcript: Transcript, at_s: float) -> None:
        """Both regions as they are now, as much of them as fits."""
        self._live.update(self._drawn(transcript, self._console.size.height))

    def end(self, transcript: Transcript) -> None:
        """Whole text and summary, in place of the regions."""
        self._live.stop()
        if transcript.speeches:
            self._console.print(self._panel(Text(transcript.text)))
        for line in summary_lines(self._view, transcript, self._console.width):
            self._console.print(self._coloured(line))

    def _drawn(self, transcript: Transcript, height: int) -> Group:
        room, most = max(4, height - 4), self._console.width - 1
        rows = [f"{number}. {row.text}" for number, row in enumerate(self._view.rows(transcript), 1)]
        shown = [self._coloured(one_line(row, most)) for row in rows[-max(2, room // 2) :]]
        text = Text(transcript.text).wrap(self._console, self._console.width - 4)
        tail = Text("\n").join(list(text)[-max(2, room - len(shown)) :])
        return Group(self._panel(tail), *shown)

    def _panel(self, text: Text) -> Panel:
        return Panel(text, title=self._view.text_name, title_align="left")

    def _coloured(self, line: str) -> Text:
        """The line, with the word behind its number in the style that the view gives it."""
        text, styles = Text(line), self._view.styles
        found = re.match(rf"\s*\d+\. ({'|'.join(map(re.escape, styles))})", line) if styles else None
        if found is not None:
            text.stylize(styles[found[1]], found.start(1), found.end(1))
        return text


def _told(request: str, how: str) -> str:
    return f"{request}  ({how})" if how else request
