"""Regular expressions as grammars: what all servers read alike, and nothing beyond it. Pure."""

from __future__ import annotations

from alto_streams.models.rests import Alt, Chars, Node, Repeat, Seq, Unsupported

_DIGIT = (("0", "9"),)
_WORD = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACE = (("\t", "\r"), (" ", " "))
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_END = ""


def grammar_of(regex: str) -> Node:
    r"""The grammar of the texts that match as a whole: literals, classes, `.`, `|`, groups, `* + ? {m,n}`, `\d \w \s`.

    Raises:
        Unsupported: it has something else, such as a lookahead, or cannot be read.
    """
    text = regex.removeprefix("^")
    ends = text.endswith("$") and (len(text) - len(text[:-1].rstrip("\\"))) % 2 == 1
    reader = _Reader(text[:-1] if ends else text)
    found = reader.options()
    if reader.next != _END:
        raise Unsupported(f"regex: an unmatched {reader.next!r}")
    return found


class _Reader:
    """Reads from left to right; `next` is the letter that comes."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    @property
    def next(self) -> str:
        return self._text[self._place : self._place + 1]

    def take(self) -> str:
        letter = self.next
        if letter == _END:
            raise Unsupported("regex: it ends too early")
        self._place += 1
        return letter

    def skip(self, text: str) -> bool:
        found = self._text.startswith(text, self._place)
        self._place += len(text) if found else 0
        return found

    def options(self) -> Node:
        found = [self.sequence()]
        while self.skip("|"):
            found.append(self.sequence())
        return found[0] if len(found) == 1 else Alt(tuple(found))

    def sequence(self) -> Node:
        parts = []
        while self.next not in (_END, "|", ")"):
            parts.append(self.repeated(self.one()))
        return Seq(tuple(parts))

    def one(self) -> Node:
        letter = self.take()
        if letter == "(":
            if self.skip("?") and not self.skip(":"):
                raise Unsupported("regex: a group with (? other than (?:")
            found = self.options()
            if not self.skip(")"):
                raise Unsupported("regex: a ( without its )")
            return found
        if letter == "[":
            return self.chars()
        if letter == ".":
            return Chars((("\n", "\n"),), negated=True)
        if letter == "\\":
            return self.escaped()
        if letter in "*+?{}^$]":
            raise Unsupported(f"regex: {letter!r} there; write it with a backslash if it is meant as it stands")
        return Chars(((letter, letter),))

    def escaped(self) -> Chars:
        letter = self.take()
        if letter.lower() in _CLASSES:
            return Chars(_CLASSES[letter.lower()], negated=letter.isupper())
        if letter.isalnum() and letter not in _LETTERS:
            raise Unsupported(f"regex: \\{letter}")
        letter = _LETTERS.get(letter, letter)
        return Chars(((letter, letter),))

    def chars(self) -> Chars:
        negated, ranges = self.skip("^"), list[tuple[str, str]]()
        while not ranges or self.next != "]":
            low = self.within()
            if isinstance(low, Chars):
                if low.negated:
                    raise Unsupported("regex: a negated class within a class")
                ranges += low.ranges
                continue
            if self.next == "-" and self._text[self._place + 1 : self._place + 2] not in ("]", _END):
                self.take()
                high = self.within()
                if isinstance(high, Chars) or high < low:
                    raise Unsupported("regex: a range in a class that has no end")
                ranges.append((low, high))
            else:
                ranges.append((low, low))
        self.take()
        return Chars(tuple(ranges), negated)

    def within(self) -> str | Chars:
        """One letter, or a class, within brackets."""
        letter = self.take()
        if letter == "[" and self.next == ":":
            raise Unsupported("regex: a POSIX class")
        if letter != "\\":
            return letter
        found = self.escaped()
        return found if len(found.ranges) > 1 or found.ranges == _DIGIT or found.negated else found.ranges[0][0]

    def repeated(self, node: Node) -> Node:
        bounds: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self.next in bounds and self.next != _END:
            node = Repeat(node, *bounds[self.take()])
        elif self.skip("{"):
            node = Repeat(node, *self.bounds())
        else:
            return node
        if self.next != _END and self.next in "*+?{":
            raise Unsupported("regex: a lazy, possessive or doubled repetition")
        return node

    def bounds(self) -> tuple[int, int | None]:
        told = ""
        while not self.skip("}"):
            told += self.take()
        low, comma, high = told.partition(",")
        if not low.isdecimal() or (high and not high.isdecimal()) or (high and int(high) < int(low)):
            raise Unsupported(f"regex: {{{told}}} is no repetition")
        return int(low), (int(high) if high else None) if comma else int(low)
