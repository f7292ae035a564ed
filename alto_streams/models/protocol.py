"""One protocol for every language model: whatever answers a `Call` with a stream of `Piece`s."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from alto_streams.records import Call, Poison, TokenLogprob


class EngineUnavailable(Exception):
    """The engine cannot be reached or died: try again later. Names the engine and its address."""


class EngineOverloaded(EngineUnavailable):
    """The engine asks for patience (HTTP 429, 503). `retry_after_s` is its own figure, if it gave one."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class CallRejected(Poison):
    """The engine refuses this call for good (too long, malformed): trying again cannot help."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond streaming text. `slots`: how many calls it runs at once."""

    slots: int
    context_tokens: int
    grammar: bool = False
    choices: bool = False
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
class Piece:
    """The next part of a generation. The last one has `finish`, and carries the usage if the engine tells it."""

    text: str
    tokens: list[int] | None = None
    logprobs: list[TokenLogprob] | None = None
    finish: Literal["stop", "length"] | None = None
    usage: Usage = field(default=Usage())


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
        self, call: Call, *, prefix: str = "", prefix_tokens: list[int] | None = None, prompt_class: str = ""
    ) -> AsyncIterator[Piece]:
        """Stream the completion, continuing the assistant's turn from `prefix`; closing the iterator aborts the call.

        The pieces never repeat the prefix; a character split over tokens is held until it is whole.

        Raises:
            EngineUnavailable: before or in the middle of the stream.
            CallRejected: this call can never succeed here.
        """

    async def close(self) -> None:
        """Release connections and processes."""
