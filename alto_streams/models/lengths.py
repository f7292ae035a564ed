"""Whether a prompt leaves room to write in its engine's context, and what is cut off it where its stage allows that.

It is known before the engine is asked. Counting is the engine's own where it has a route for that, which costs a
request; so a prompt is first held against what cannot be exceeded: no text has more tokens than bytes, and two prompts
of a class have the same tokens as far as they are the same text. Nearly all prompts are found to fit by that alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from alto_streams.define.stages import Truncate
from alto_streams.errors import TooLong
from alto_streams.models.protocol import CountsTokens, Engine
from alto_streams.wire.records import Call, Message

BYTES_A_TOKEN = 3  # English has four or more, other scripts about three, digits and code fewer
TEMPLATE_TOKENS, TURN_TOKENS = 64, 16  # what a chat template adds at most: a system turn of its own, a turn's marks
KEPT = 8  # of the context one part in so many is kept for what is written, or all that the call asks for, if less
CUTS = 8


class Lengths:
    """The lengths of the calls of one engine. `truncate`: prompt class -> how its prompts are cut."""

    def __init__(self, engine: Engine, truncate: Mapping[str, Truncate] | None = None) -> None:
        self._engine, self._truncate = engine, truncate or {}
        self._counted: dict[str, tuple[str, int]] = {}  # prompt class -> the text that was counted last, and its tokens

    async def fitted(
        self, call: Call, prompt_class: str, prefix: str = "", prefix_tokens: Sequence[int] | None = None
    ) -> Call:
        """The call as it fits: its prompt cut where its stage says how, its `max_tokens` those that there is room for.

        Raises:
            TooLong: there is no room, with the counts.
            EngineUnavailable: it was to count, and cannot be reached.
        """
        context = self._engine.capabilities.context_tokens
        if not context:
            return call  # nobody knows
        written = len(prefix_tokens) if prefix_tokens else _estimate(prefix)
        if self._at_most(call.messages, prompt_class) + written + call.max_tokens <= context:
            return call
        kept = min(call.max_tokens + written, max(1, context // KEPT))
        tokens, exact = await self._count(call.messages, prompt_class)
        if tokens + kept > context:
            how = self._truncate.get(prompt_class)
            if how is None:
                raise _too_long(tokens, exact, context, kept, "shorten the input, give its stage `truncate`")
            call, tokens = await self._cut(call, prompt_class, how, (tokens, context, kept))
        return msgspec.structs.replace(call, max_tokens=min(call.max_tokens, context - tokens - written))

    async def _cut(
        self, call: Call, prompt_class: str, how: Truncate, lengths: tuple[int, int, int]
    ) -> tuple[Call, int]:
        """The call with its variable part cut until it fits, and the tokens of its prompt. The same for every run."""
        tokens, context, kept = lengths
        *fixed, own = call.messages
        share, exact = 1.0, True
        for _ in range(CUTS):
            whole = sum(len(message.content.encode()) for message in [*fixed, own])
            share -= max(0.02, (tokens - (context - kept)) / max(1.0, tokens * len(own.content.encode()) / whole))
            if share <= 0:
                break
            text = _shorter(own.content, share, how)
            cut = msgspec.structs.replace(call, messages=[*fixed, Message(own.role, text)])
            now, exact = await self._count(cut.messages, prompt_class)
            if now + kept <= context:
                return cut, now
            tokens = now
        raise _too_long(tokens, exact, context, kept, "it was cut as its stage says: shorten what is not cut")

    def _at_most(self, messages: Sequence[Message], prompt_class: str) -> int:
        """A bound without asking: by the bytes of what is not the text that was counted last."""
        text = _joined(messages)
        known, tokens = self._counted.get(prompt_class, ("", TEMPLATE_TOKENS + TURN_TOKENS * len(messages)))
        return tokens + len(text[_common(text, known) :].encode())

    async def _count(self, messages: Sequence[Message], prompt_class: str) -> tuple[int, bool]:
        """The prompt's tokens, and whether that is the engine's own count."""
        if isinstance(self._engine, CountsTokens):
            tokens = await self._engine.count_tokens(messages)
            if tokens is not None:
                self._counted[prompt_class] = _joined(messages), tokens
                return tokens, True
        turns = TEMPLATE_TOKENS + TURN_TOKENS * len(messages)
        return turns + sum(_estimate(message.content) for message in messages), False


def _shorter(text: str, share: float, how: Truncate) -> str:
    length = int(len(text) * share)
    if how == "head":
        return text[len(text) - length :]
    if how == "tail":
        return text[:length]
    try:
        return how(text, share)
    except Exception as error:  # the author's function: this call fails, and says so
        raise TooLong(f"too long, and its stage's truncate raised {type(error).__name__}") from None


def _too_long(tokens: int, exact: bool, context: int, kept: int, remedy: str) -> TooLong:
    about = "" if exact else "about "
    return TooLong(
        f"too long: the prompt has {about}{tokens} tokens, and the engine's context is {context}, of which {kept} are "
        f"kept for what is written; {remedy}, or use an engine with more context"
    )


def _estimate(text: str) -> int:
    return math.ceil(len(text.encode()) / BYTES_A_TOKEN)


def _joined(messages: Sequence[Message]) -> str:
    return "\0".join(f"{message.role}\0{message.content}" for message in messages)


def _common(one: str, other: str) -> int:
    """How many characters both begin with; by halves, as comparing slices is quick."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
