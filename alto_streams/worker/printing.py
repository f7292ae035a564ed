"""What a stage's functions print: lines of the worker's log, under the stage's name.

A worker's standard output is a file that fills up before it is written, so a printed line came late, without a time and
among others, or never. What is printed is the author's own: it may hold what a user wrote.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import TextIO

MOST_CHARS = 8_000  # of one line; what is longer goes on in the next


class Printing:
    """Stands in for the standard output from `start` to `stop`: each line becomes a log record of `stage.<name>`."""

    def __init__(self, name: str) -> None:
        self._lines = _Lines(logging.getLogger(f"stage.{name}"))
        self._before: TextIO | None = None

    async def start(self) -> None:
        """What is printed from here on is logged."""
        self._before, sys.stdout = sys.stdout, self._lines

    async def stop(self) -> None:
        """What is printed from here on goes where it went before."""
        self._lines.end(self._before)
        if sys.stdout is self._lines and self._before is not None:
            sys.stdout = self._before


class _Lines(io.TextIOBase, TextIO):
    """Text in any pieces, of several threads; each thread's lines stay whole."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._begun: dict[int, str] = {}
        self._beyond: TextIO | None = None

    def write(self, text: str) -> int:
        if self._beyond is not None:  # whoever printed to it meant the standard output
            return self._beyond.write(text)
        thread = threading.get_ident()
        *lines, rest = (self._begun.pop(thread, "") + text).split("\n")
        while len(rest) > MOST_CHARS:
            lines.append(rest[:MOST_CHARS])
            rest = rest[MOST_CHARS:]
        if rest:
            self._begun[thread] = rest
        for line in lines:
            self._log.info("printed: %s", line)
        return len(text)

    def writable(self) -> bool:
        return True

    def end(self, beyond: TextIO | None) -> None:
        """The lines that were begun are whole now; what comes after goes to `beyond`."""
        self._beyond = beyond
        for line in [self._begun.pop(thread) for thread in list(self._begun)]:
            self._log.info("printed: %s", line)
