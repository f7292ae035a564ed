"""One protocol for every language model: whatever answers a `Call` with a stream of `Piece`s."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import msgspec

from alto_streams.wire.records import Call, Message, TokenLogprob


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond streaming text. `slots`: how many calls it runs at once.

    `continues`: it goes on from a prefix as if it had written that itself. `tokens`: also from token ids. `grammar` to
    `regex`: the constraints of a `Call` that it keeps to; of `json_schema` and `regex` see `guides.guide_of`.
    """

    slots: int
    context_tokens: int
    grammar: bool = False
    choices: bool = False
    json_schema: bool = False
    regex: bool = False
    logprobs: bool = False
    tokens: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one run; `cached_tokens` is the part of the prompt that a prefix cache spared."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine holds at this moment, whoever sent it. `running`, `waiting`: calls.

    `used`: the fraction of its KV cache that is in use, 0 to 1. `queries`, `hits`: the prompt tokens, since it started,
    that were looked up in its prefix cache, and those found there. None: not told.
    """

    running: int
    waiting: int
    used: float | None = None
    queries: int | None = None
    hits: int | None = None


class Piece(msgspec.Struct, frozen=True):
    """The next part of a generation. The last one has `finish`, and carries the usage if the engine tells it.

    `tokens` are those of exactly this text, or None. `count`: how many output tokens it took; None: not told.
    """

    text: str
    tokens: list[int] | None = None
    logprobs: list[TokenLogprob] | None = None
    finish: Literal["stop", "length"] | None = None
    usage: Usage = Usage()
    count: int | None = None


class Engine(Protocol):
    """A language model server, or a recording of one."""

    @property
    def name(self) -> str:
        """What errors and metrics call it, with its address."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def ready(self) -> None:
        """Return once the engine can take calls.

        Raises:
            EngineUnavailable: it cannot be reached now.
        """

    def generate(
        self,
        call: Call,
        *,
        prefix: str = "",
        prefix_tokens: list[int] | None = None,
        prompt_class: str = "",
        by_line: bool = False,
        priority: int = 0,
    ) -> AsyncIterator[Piece]:
        """Stream the completion, continuing the assistant's turn from `prefix`; closing the iterator aborts the call.

        The pieces never repeat the prefix; a character split over tokens is held until it is whole, and so is what
        may become a stop sequence. `call.max_tokens` and `call.grammar` are those of what follows the prefix, the other
        constraints and `call.stop` those of the whole: it stops where the whole would have. `prefix_tokens` are
        used only if they are exactly the prefix to this engine. With temperature 0 the prefix and what follows are
        what one run would have written; with a temperature they are another sample, whatever the seed.

        `by_line`: nothing is done with less than a whole line, so an engine may gather up to a line's end, but no
        longer than a second or two. `priority`: where an engine has to choose, the call with the lowest comes first.

        The first piece says that the call was taken. An engine that runs inside this process yields an empty one
        before it begins, so that a call which kills the process has been counted.

        Raises:
            EngineBroke: it took the call and failed.
            EngineUnavailable: it did not take the call.
            CallRejected: this call can never succeed here.
        """

    async def close(self) -> None:
        """Release connections and processes."""


@runtime_checkable
class CountsTokens(Protocol):
    """An engine that knows its tokenizer."""

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """The tokens of a prompt, its template's included; None where the server has no route that tells.

        Raises:
            EngineUnavailable: it cannot be reached now.
            CallRejected: it cannot read these messages.
        """


@runtime_checkable
class PlaysRecording(Protocol):
    """An engine that plays a recording: it can do nothing but that, and its clock costs processor time of its own."""

    @property
    def cpu_s(self) -> float:
        """Processor time in seconds that its clock has taken."""


@runtime_checkable
class TellsLoad(Protocol):
    """An engine that may know all of its load, other clients' calls included."""

    async def load(self) -> EngineLoad | None:
        """Its load now, within two seconds; None where it does not tell. No failure of its is an error here."""
