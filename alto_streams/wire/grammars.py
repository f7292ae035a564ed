"""Grammars of structured output, and what is left of them once some of it is written. Pure.

Structured output is one item a line. A grammar in GBNF says what the whole may be, but a call that goes on from an
accepted text needs the grammar of the rest: with the whole one an engine would begin again, and write too many lines.
GBNF is llama.cpp's notation (its `grammars/README.md`), and vLLM reads it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TO_LINE_END = r'[^\x0A\x0D]* "\n"'


@dataclass(frozen=True, slots=True)
class LineGrammar:
    """Whole lines, at least `least` and at most `most` of them, and then `end`.

    `line`: the GBNF of one line without its line end; it must accept no line end and no blank line. `rules`: further
    GBNF rules that it names (not `root` or `line`). `end`: nothing, or the blank line that closes the whole.

    Raises:
        ValueError: the bounds are no bounds.
    """

    line: str
    least: int
    most: int
    end: Literal["", "\n"] = ""
    rules: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or not self.most:
            raise ValueError(f"LineGrammar: {self.least} to {self.most} lines; give 0 <= least <= most, and most >= 1")

    def whole(self) -> str:
        """The GBNF of the whole text."""
        return self._gbnf("", self.least, self.most)

    def after(self, text: str) -> str | None:
        """The GBNF of what may follow `text`; None if nothing that counts may follow: all lines or the end are there.

        A line that is not whole is completed freely, to its line end: nothing tells where in the line's own grammar it
        stands. Texts that are published at line ends never have one. Blank lines count for nothing, except as the end.
        """
        if not text:
            return self.whole()
        whole, _, begun = text.rpartition("\n")
        lines = [line for line in whole.split("\n") if line.strip()]
        written = len(lines) + bool(begun.strip())
        closed = self.end and not begun and len(lines) >= self.least and ("\n" + text).endswith("\n\n")
        if closed or len(lines) >= self.most:
            return None
        head = f"{_TO_LINE_END} " if begun else ""
        return self._gbnf(head, max(0, self.least - written), self.most - written)

    def _gbnf(self, head: str, least: int, most: int) -> str:
        lines = f"line{{{least},{most}}}" if most else ""
        end = _literal(self.end) if self.end else ""
        root = " ".join(part for part in (head.strip(), lines, end) if part)
        rules = [f'line ::= {self.line} "\\n"', self.rules] if most else []
        return "\n".join(rule for rule in (f"root ::= {root}", *rules) if rule) + "\n"


def grammar_after(grammar: str | LineGrammar | None, text: str) -> str | None:
    """The GBNF that constrains what follows `text`; None if nothing does.

    What is left of a grammar that is only text is not known: what follows an accepted text is then free. A stage whose
    output must keep to such a grammar is better redone than resumed when it breaks.
    """
    if isinstance(grammar, LineGrammar):
        return grammar.after(text)
    return None if text else grammar


def whole_grammar(grammar: str | LineGrammar | None) -> str | None:
    """The GBNF of a whole text; None if nothing constrains it."""
    return grammar.whole() if isinstance(grammar, LineGrammar) else grammar


def one_of(choices: Iterable[str]) -> str:
    """GBNF that accepts exactly one of the choices."""
    return "root ::= " + " | ".join(_literal(choice) for choice in choices)


def _literal(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(letter, letter) for letter in text) + '"'
