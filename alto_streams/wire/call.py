"""What an engine is asked, and what it says of each token; the rest of what travels is in `records`."""

from __future__ import annotations

from typing import Any, Literal

from alto_streams.wire.codec import Wire


class Message(Wire, frozen=True):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Call(Wire, frozen=True):
    """One LM call, as any engine understands it. The part that all calls of a prompt class share comes first.

    `subject` names what the call is about; a recording is looked up by it. `logprobs` asks for that many alternatives
    per token. Without a `temperature` it is that of the model's card, else 0.

    At most one of these constrains the text. `choices` asks for exactly one of these texts, and `grammar` is GBNF; an
    engine that cannot leaves the text free. `json_schema` and `regex` are what the whole text must match; an engine
    that cannot refuses the call.

    Raises:
        ValueError: more than one of them is given.
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
    json_schema: dict[str, Any] | None = None
    regex: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("grammar", "choices", "json_schema", "regex") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"Call: {' and '.join(given)} together; give at most one of them")


class TokenLogprob(Wire, frozen=True):
    """One generated token with the log-probabilities of its likeliest alternatives, itself included."""

    token: str
    top: dict[str, float]
