"""What is left of a call of which some text is accepted already. Pure.

The next attempt continues from exactly that text: what it may still write is the rest of the call's tokens, of its
choices and of its grammar, and it stops where the whole would have stopped. With temperature 0 the whole is what one
undisturbed attempt would have written. With a temperature it is a sample as good as any, but another one: the seed
travels unchanged, and an engine begins its draws anew with each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from alto_streams.wire.grammars import LineGrammar, grammar_after
from alto_streams.wire.records import Call


def rest_of(call: Call, grammar: str | LineGrammar | None, text: str, spent: int) -> Call | None:
    """The call that writes what may follow `text`, for which `spent` output tokens were used; None if nothing may.

    Nothing is left when the tokens, the lines or the choice are used up, or the text has its end: then only the
    record of that end was lost, and another attempt could add nothing but noise. `choices` and `stop` travel whole,
    since an engine is told the text beside the call and works out what is left of them.
    """
    left = call.max_tokens - spent
    if not text:
        return msgspec.structs.replace(call, max_tokens=left) if left > 0 else None
    rest = grammar_after(grammar, text)
    if rest is None and isinstance(grammar, LineGrammar):
        return None
    call = msgspec.structs.replace(call, max_tokens=left, grammar=rest)
    return None if finished(call, text) else call


def finished(call: Call, text: str) -> Literal["stop", "length"] | None:
    """Why a call may write nothing behind `text`; None if it may. `call.max_tokens`: those that are left."""
    if any(stop in text for stop in call.stop if stop):
        return "stop"
    if text and call.choices is not None and choices_left(call.choices, text) == [""]:
        return "stop"
    return "length" if call.max_tokens <= 0 else None


def choices_left(choices: Sequence[str], text: str) -> list[str]:
    """What may follow `text` so that the whole is one of the choices; empty if none of them begins with it."""
    return list(dict.fromkeys(choice[len(text) :] for choice in choices if choice.startswith(text)))


def stops_begun(stops: Sequence[str], text: str) -> list[str]:
    """What, coming first behind `text`, would complete a stop sequence that begins in the text.

    An engine that goes on from a text looks for stop sequences in what it writes itself, so these are ours to find.
    """
    found = [stop[size:] for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])]
    return list(dict.fromkeys(found))
