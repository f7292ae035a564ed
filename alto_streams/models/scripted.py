"""An engine whose content is a recording: the same text for the same subject, with no timing or the reference one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from alto_streams.errors import CallRejected, EngineUnavailable
from alto_streams.models.protocol import Capabilities, Piece, Usage
from alto_streams.models.simulated import Job, RealTime, RunningBatch, Step, Timing, token_count
from alto_streams.wire.records import Call
from alto_streams.wire.resume import finished

LONG_LINE = 64  # tokens: some are said within the line

Script = Callable[[str, Call], str | Sequence[str] | None]
"""The completion for (prompt class, call), found by `call.subject`; None if nothing is recorded. One that is a text
is cut into tokens of like length; one that is a sequence is its tokens."""

Lengths = Callable[[str, Call], tuple[int, int]]
"""The tokens of a call's prompt: its class's fixed prefix, and its own input."""


def message_lengths(prompt_class: str, call: Call) -> tuple[int, int]:
    """Every message but the last is the class's fixed prefix."""
    *fixed, own = call.messages
    return sum(_fixed_tokens(message.content) for message in fixed), token_count(own.content)


@lru_cache(maxsize=256)
def _fixed_tokens(text: str) -> int:
    """All calls of a prompt class bring the same fixed prefix, the longest part of their prompts."""
    return token_count(text)


class ScriptedEngine:
    """Plays a script. The pieces of a text are its tokens: the text cut into `token_count` parts of like length.

    `timing`: None streams as fast as the event loop goes round.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        slots: int = 8,
        timing: Timing | None = None,
        lengths: Lengths = message_lengths,
    ) -> None:
        self._script = script
        self._name = name
        self._lengths = lengths
        self._clock = RealTime(RunningBatch(timing)) if timing is not None else None
        self._slots = timing.max_running if timing is not None else slots
        self._closed = False

    @property
    def name(self) -> str:
        """`scripted`, or the name it was given: where its content is from."""
        return self._name

    @property
    def cpu_s(self) -> float:
        """Processor time that went into keeping time: an engine of its own would have used it elsewhere."""
        return 0.0 if self._clock is None else self._clock.cpu_s

    @property
    def capabilities(self) -> Capabilities:
        """A recording keeps to any grammar that it was made for, and has neither token ids nor log-probabilities."""
        return Capabilities(self._slots, context_tokens=1 << 20, grammar=True, choices=True, continues=True)

    async def ready(self) -> None:
        """At once, until it is closed."""
        if self._closed:
            raise EngineUnavailable("closed", self._name)

    async def generate(
        self,
        call: Call,
        *,
        prefix: str = "",
        prefix_tokens: list[int] | None = None,
        prompt_class: str = "",
        by_line: bool = False,
        priority: int = 0,
    ) -> AsyncGenerator[Piece, None]:
        """Stream the recorded completion, exactly from behind `prefix` on; see `Engine.generate`.

        Raises:
            CallRejected: nothing is recorded for the subject, or the prefix is none of the recording.
        """
        await self.ready()
        ended = finished(call, prefix)
        if ended is not None:
            yield Piece("", finish=ended)
            return
        text = self._script(prompt_class, call)
        if text is None:
            raise CallRejected(f"nothing is recorded for this call of prompt class {prompt_class!r}", self._name)
        parts, finish = script_parts(text, call, prefix, prompt_class)
        fixed, own = self._lengths(prompt_class, call)
        own += token_count(prefix) if prefix else 0
        if self._clock is None:
            for part in parts[:-1]:
                await asyncio.sleep(0)
                yield Piece(part, count=1)
            yield Piece("".join(parts[-1:]), count=len(parts[-1:]), finish=finish, usage=Usage(fixed + own, len(parts)))
            return
        job = Job(prompt_class, prefix=fixed, own=own, output=max(1, len(parts)))
        told, known = 0, object()
        progress: asyncio.Queue[Step] = asyncio.Queue()
        self._clock.submit(known, job, progress.put_nowait, _line_ends(parts) if by_line else ())
        try:
            while True:
                now = await progress.get()
                text, count, told = "".join(parts[told : now.done]), min(now.done, len(parts)) - told, now.done
                if now.last:
                    break
                yield Piece(text, count=count)
        finally:
            self._clock.abort(known)
        yield Piece(text, count=count, finish=finish, usage=Usage(fixed + own, len(parts), now.cached))

    async def close(self) -> None:
        """Stop the clock; runs that are open get nothing more."""
        self._closed = True
        if self._clock is not None:
            await self._clock.close()


def _line_ends(parts: list[str]) -> list[int]:
    """The tokens after which there is something to say: those that end a line, and now and then one of a long line."""
    ends, last = [], 0
    for number, part in enumerate(parts, 1):
        if "\n" in part or number - last >= LONG_LINE:
            ends.append(number)
            last = number
    return ends


def script_parts(
    recorded: str | Sequence[str], call: Call, prefix: str, prompt_class: str
) -> tuple[list[str], Literal["stop", "length"]]:
    """The tokens of what is recorded that follow the prefix, within the call's bounds, and how the run ends.

    The cuts are those of the whole text, so a resumed run is cut like an undisturbed one, and takes no more tokens.

    Raises:
        CallRejected: the text does not begin with the prefix.
    """
    text = recorded if isinstance(recorded, str) else "".join(recorded)
    if not text.startswith(prefix):
        raise CallRejected(f"the accepted text is not part of the recording for prompt class {prompt_class!r}")
    if isinstance(recorded, str):
        for stop in call.stop:
            text = text.partition(stop)[0]
        count = min(token_count(text), len(text))
        cuts = [round(len(text) * index / count) for index in range(1, count + 1)] if count else []
    else:
        cuts = list(accumulate(map(len, recorded)))
    parts, start = [], len(prefix)
    for cut in cuts:
        if cut > start:
            parts.append(text[start:cut])
            start = cut
    if prefix and len(prefix) not in cuts and len(parts) > 1:
        # The prefix ends within a token that its run has been counted for: a resumed call may not pay twice.
        parts[:2] = [parts[0] + parts[1]]
    if len(parts) > call.max_tokens:
        return parts[: call.max_tokens], "length"
    return parts, "stop"
