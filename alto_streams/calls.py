"""What an engine is asked, and what it says of each token; the rest of what travels is in `records`."""

from __future__ import annotations

from typing import Literal

from alto_streams.codec import Wire


class Message(Wire, frozen=True):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Call(Wire, frozen=True):
    """One LM call, as any engine understands it. The part that all calls of a prompt class share comes first.

    `subject` names what the call is about; a recording is looked up by it. `choices` asks for exactly one of these
    texts; `grammar` is GBNF; `logprobs` asks for that many alternatives per token. Without a `temperature` it is that
    of the model's card, else 0.
    """

    messages: list[Message]
    max_tokens: int
    subject: str = ""
    temperature: float | None = None
    seed: int | None = None
    stop: list[str] = []
    grammar: str | None = None
    choices: list[str] | None = None
    logprobs: int = 0


class TokenLogprob(Wire, frozen=True):
    """One generated token with the log-probabilities of its likeliest alternatives, itself included."""

    token: str
    top: dict[str, float]
