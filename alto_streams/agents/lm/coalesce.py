"""When the pieces of a run become a chunk. Pure.

A record costs far more than a token, but a watching client wants the first word at once. So a watched stream publishes
its first piece immediately, then what has gathered ten times a second, and a sentence's end as it comes, since an item
may end there; an unwatched one publishes whole lines only, since nobody can use less than an item.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from alto_streams.models.protocol import Piece
from alto_streams.wire.records import TokenLogprob

SENTENCE_END = re.compile(r"[.!?…][\"')\]*_\u201d\u2019]*\s|[。\n]")


@dataclass(slots=True)
class Gathered:
    """What becomes one chunk. `tokens` cover exactly its text, or are None."""

    text: str = ""
    count: int = 0
    tokens: list[int] | None = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)


class Coalescer:
    """Collects pieces. `every_ms`, `most_tokens`: how much a watched stream gathers after its first chunk."""

    def __init__(self, flush: Literal["token", "line"], every_ms: int = 100, most_tokens: int = 16) -> None:
        self._by_line = flush == "line"
        self._every_ms, self._most_tokens = every_ms, most_tokens
        self._held = Gathered()
        self._last_ms: int | None = None

    def hold(self, piece: Piece) -> None:
        """Keep a piece, whatever is due."""
        held = self._held
        held.text += piece.text
        held.count += len(piece.tokens or piece.text[:1]) if piece.count is None else piece.count
        if piece.text:
            # With those of one piece missing, the others' would stand for all of the text.
            held.tokens = held.tokens + piece.tokens if held.tokens is not None and piece.tokens else None
        held.logprobs += piece.logprobs or []

    def add(self, piece: Piece, now_ms: int, waiting: int = 0) -> Gathered | None:
        """The chunk that is due with this piece, if one is. `waiting`: chunks that the log has not taken yet."""
        self.hold(piece)
        if self._by_line:
            return self._whole_lines()
        held, last_ms = self._held, self._last_ms
        if not held.text or (last_ms is not None and not self._is_due(held, now_ms - last_ms, waiting)):
            return None
        self._last_ms = now_ms
        return self.rest()

    def _is_due(self, held: Gathered, since_ms: int, waiting: int) -> bool:
        # A backlog is not made longer: each chunk that waits lets the next one gather for as long again.
        patience = 1 + waiting
        late = since_ms >= self._every_ms * patience or held.count >= self._most_tokens * patience
        return late or SENTENCE_END.search(held.text) is not None

    def rest(self) -> Gathered:
        """What is held, whole line or not: the end of the stream ends it."""
        held, self._held = self._held, Gathered()
        return held

    def _whole_lines(self) -> Gathered | None:
        held = self._held
        end = held.text.rfind("\n") + 1
        if not end:
            return None
        if end == len(held.text):
            return self.rest()
        # A token reaches over the line's end. Its text is cut there, so the tokens no longer cover the text exactly:
        # they are left out, and a resumed attempt continues from the text.
        self._held = Gathered(held.text[end:], tokens=None)
        return Gathered(held.text[:end], held.count, None, held.logprobs)
