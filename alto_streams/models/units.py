"""From vLLM's deltas to `Piece`s whose token ids are exactly their text. Pure.

vLLM tells a token's id at once, and its text only once its characters are whole; and what its reader did not take in
time comes as one delta.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from alto_streams.models.protocol import Piece
from alto_streams.wire.records import TokenLogprob

CHARACTER_TOKENS = 4  # at most: a character has no more bytes, and a token has one at least


class Delta(Protocol):
    """What is used of vLLM's `CompletionOutput`; its stop sequences are part of the text."""

    text: str
    token_ids: Sequence[int]
    logprobs: Sequence[Mapping[int, Any]] | None
    finish_reason: str | None


class Units:
    """One run. `decode`: the text of token ids, without special tokens. `count`: the tokens so far."""

    def __init__(self, decode: Callable[[Sequence[int]], str], wants_logprobs: bool) -> None:
        self._decode, self._wants_logprobs = decode, wants_logprobs
        self._text, self._tokens = "", list[int]()
        self._logprobs: list[TokenLogprob] = []
        self.count = 0
        self.finish: str | None = None

    def feed(self, delta: Delta) -> Piece | None:
        """The next piece of text: once it is whole, and at the run's end what is left."""
        tokens = list(delta.token_ids)
        self.count += len(tokens)
        self._text += delta.text
        self._tokens += tokens
        if self._wants_logprobs:
            self._logprobs += map(_alternatives, tokens, delta.logprobs or ())
        self.finish = delta.finish_reason
        if self.finish is not None:
            return self._last()
        if not self._text or self._decode(self._tokens[-CHARACTER_TOKENS:]).endswith("\ufffd"):
            return None
        return self._piece(self._tokens)

    def _last(self) -> Piece | None:
        """What ends within a character, or with the token that ends a text, has tokens without text."""
        if not self._text:
            return None
        told = self._tokens
        if self._decode(told[-1:]) == "":
            told = told[:-1]
            self._logprobs = self._logprobs[: len(told)]
        return self._piece(told if self._decode(told) == self._text else None)

    def _piece(self, tokens: list[int] | None) -> Piece:
        logprobs = self._logprobs if self._wants_logprobs else None
        piece = Piece(self._text, tokens, logprobs, count=len(self._tokens))
        self._text, self._tokens, self._logprobs = "", [], []
        return piece


def _alternatives(token: int, found: Mapping[int, Any]) -> TokenLogprob:
    """Those that the call's constraint leaves: of the others vLLM says minus infinity, which JSON cannot."""
    top = {str(one.decoded_token): float(one.logprob) for one in found.values() if math.isfinite(one.logprob)}
    return TokenLogprob(token=str(found[token].decoded_token), top=top)
