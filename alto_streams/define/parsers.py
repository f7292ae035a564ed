"""Incremental parsers: a model's text, in any chunks, into items as they close.

All of them keep the promise of `stages.Parser`: what is read is decided from the text up to that place only, so how
it was cut into chunks never matters. They never raise on model output: what is no item is a `ParseFailure`. One that
could find nothing is refused when it is made, with a `PipelineError`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec
import sentencex

from alto_streams.define.prompt_values import check_parser, check_text_kind
from alto_streams.define.stages import ParseFailure, Parser
from alto_streams.errors import PipelineError
from alto_streams.wire.grammars import LineGrammar
from alto_streams.wire.records import TokenLogprob

T = TypeVar("T")
Found = list[T | ParseFailure]

# An item longer than this is a failure: no model output may grow a buffer without end.
MAX_ITEM_CHARS = 8_000
_SPACE = re.compile(r"\s")
_FOREIGN_SPACE = re.compile(r"[^\S\x00-\x7f]")
CLOSERS = "\"')]*_\u201d\u2019"  # the last two: closing quotation marks


class Whole(Generic[T]):
    """One item, at the close: the whole text, stripped. Nothing if there is no text.

    `kind` makes the item of a text: a record with one field, say.
    """

    def __init__(self, kind: Callable[[str], T], max_chars: int = MAX_ITEM_CHARS) -> None:
        check_parser("Whole", max_chars)
        check_text_kind("Whole", kind)
        self._kind = kind
        self._max_chars = max_chars
        self._text = ""

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> Found[T]:
        """Keeps the text; one character more than the bound tells that it was too long."""
        self._text = (self._text + text)[: self._max_chars + 1]
        return []

    def close(self) -> Found[T]:
        text, self._text = self._text, ""
        if len(text) > self._max_chars:
            return [ParseFailure(f"the text has more than {self._max_chars} characters")]
        return [self._kind(text.strip())] if text.strip() else []

    def coarse(self) -> Parser[T]:
        return self


class Sentences(Generic[T]):
    """Sentences; each closes as soon as the white space after its last mark arrives.

    `rule`: `language` asks the sentencex library whether a full stop ends a sentence ("Dr. Ada", "the U.S. dollar" and
    "1." at the start of a line do not), and a line end always does; `plain` ends one at white space after . ! ? and
    nowhere else. Whether a mark is an end is decided before the next word is known: "He lives in the U.S." followed
    by a new sentence stays in one piece with it.
    """

    def __init__(
        self,
        kind: Callable[[str], T],
        rule: Literal["language", "plain"] = "language",
        language: str = "en",
        max_chars: int = MAX_ITEM_CHARS,
    ) -> None:
        check_parser("Sentences", max_chars)
        check_text_kind("Sentences", kind)
        if rule not in ("language", "plain"):
            raise PipelineError(f"Sentences(rule={rule!r}): expected 'language' or 'plain'")
        self._kind = kind
        self._ends = _plain_end if rule == "plain" else _language_end(language)
        self._max_chars = max_chars
        self._sentence = ""

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> Found[T]:
        found: Found[T] = []
        start = 0
        for match in _SPACE.finditer(text):
            end = match.start()
            if end > start:
                self._keep(text[start:end], found)
            start = end + 1
            if self._sentence:
                space = text[end]
                if self._ends(self._sentence, space) or len(self._sentence) > self._max_chars:
                    found += self.close()
                else:
                    self._sentence += space
        if start < len(text):
            self._keep(text[start:], found)
        return found

    def close(self) -> Found[T]:
        text, self._sentence = self._sentence.strip(), ""
        if len(text) > self._max_chars:
            return [ParseFailure(f"a sentence has more than {self._max_chars} characters")]
        return [self._kind(text)] if text else []

    def coarse(self) -> Parser[T]:
        """The whole text as one item."""
        return Whole(self._kind, self._max_chars)

    def _keep(self, word: str, found: Found[T]) -> None:
        """Letters that are no white space: one more than the bound tells that a sentence was too long."""
        while len(word) > (room := self._max_chars + 1 - len(self._sentence)):
            self._sentence += word[:room]
            found += self.close()
            word = word[room:]
        self._sentence += word


def _plain_end(text: str, space: str) -> bool:
    return text[-1] in ".!?"


def _language_end(language: str) -> Callable[[str, str], bool]:
    def end(text: str, space: str) -> bool:
        has_word = any(letter.isalpha() for letter in text)
        if space in "\n\r":
            return has_word
        marked = text.rstrip(CLOSERS)
        if not has_word or not marked or marked[-1] not in ".!?…。":
            return False
        marked = marked.encode("utf-8", "replace").decode()  # half a surrogate pair is no text for the library
        marked = _FOREIGN_SPACE.sub(" ", marked)  # the library breaks off at such a space before a full stop
        # The library looks at the next word; a name is the word that ends nothing by itself.
        return len(sentencex.get_sentence_boundaries(language, f"{marked} X")) > len(
            sentencex.get_sentence_boundaries(language, marked)
        )

    return end


class _ByLine(ABC, Generic[T]):
    """What the parsers of one item per line share: blank lines and code fences are no items; at most `limit` items."""

    def __init__(self, limit: int, max_chars: int) -> None:
        check_parser(type(self).__name__, max_chars, limit)
        self._limit = limit
        self._max_chars = max_chars
        self._line = ""
        self._count = 0

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> Found[T]:
        """Keeps the line; one character more than the bound tells that it was too long."""
        found: Found[T] = []
        *lines, begun = text.split("\n")
        for rest in lines:
            self._line = (self._line + rest)[: self._max_chars + 1]
            found += self._end_of_line()
        self._line = (self._line + begun)[: self._max_chars + 1]
        return found

    def close(self) -> Found[T]:
        return self._end_of_line()

    def coarse(self) -> Parser[T]:
        return self

    def _end_of_line(self) -> Found[T]:
        line, self._line = self._line.strip(), ""
        if not line or line.startswith("```") or self._count >= self._limit:
            return []
        self._count += 1
        if len(line) > self._max_chars:
            return [ParseFailure(f"item {self._count}: the line has more than {self._max_chars} characters")]
        return self._item(line)

    @abstractmethod
    def _item(self, line: str) -> Found[T]: ...


class Lines(_ByLine[T]):
    """One item per line that is not blank, the first `limit` of them; what follows is not read."""

    def __init__(self, kind: Callable[[str], T], limit: int = 64, max_chars: int = MAX_ITEM_CHARS) -> None:
        super().__init__(limit, max_chars)
        check_text_kind("Lines", kind)
        self._kind = kind

    def _item(self, line: str) -> Found[T]:
        return [self._kind(line)]


class JsonLines(_ByLine[T]):
    """One JSON value of type `kind` per line (msgspec checks it); a line that is none is a failure.

    `grammar` is there for a record of text fields only: an engine that decodes by it writes whole lines.
    """

    def __init__(self, kind: type[T], limit: int = 64, max_chars: int = MAX_ITEM_CHARS) -> None:
        super().__init__(limit, max_chars)
        try:  # a type that is no class may not be hashable
            self._read, self.grammar = (
                _made(cast("Hashable", kind), limit) if isinstance(kind, type) else (msgspec.json.Decoder(kind), None)
            )
        except (TypeError, NameError) as error:
            raise PipelineError(f"JsonLines({kind!r}): expected a type that JSON can carry: {error}") from error

    def _item(self, line: str) -> Found[T]:
        try:
            return [self._read.decode(line.encode("utf-8", "surrogatepass"))]
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            # An error may quote the output (an unknown enum value, say); a cause must not.
            cause = re.sub(r"(['\"]).*\1", "…", str(error), flags=re.DOTALL)
            return [ParseFailure(f"item {self._count}: {cause}")]


@lru_cache(maxsize=256)
def _made(kind: Any, limit: int) -> tuple[msgspec.json.Decoder[Any], LineGrammar | None]:
    """What all parsers of one kind share: a prompt is made for each call, and this takes longer than all else of it."""
    return msgspec.json.Decoder(kind), _grammar(kind, limit)


def _grammar(kind: type, limit: int) -> LineGrammar | None:
    if not issubclass(kind, msgspec.Struct):
        return None
    fields = msgspec.structs.fields(kind)
    if not fields or any(field.type is not str for field in fields):
        return None
    body = ' ", " '.join(rf'"\"{field.encode_name}\": \"" text "\""' for field in fields)
    return LineGrammar(f'"{{" {body} "}}"', 1, limit, rules=r'text ::= [^"\\\x00-\x1f]{1,240}')
