"""What the author of a stage works with: records, prompts, parsers, gathers; and what a stage is made of.

`pipeline` is where they are used, and where they are imported from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from alto_streams.define.prompt_values import check_prompt
from alto_streams.define.topology import Node
from alto_streams.wire.grammars import LineGrammar, whole_grammar
from alto_streams.wire.paths import is_under
from alto_streams.wire.records import Call, Message, TokenLogprob

T = TypeVar("T")
Show = Literal["text", "items", "nothing"]
Shown = Literal["items", "nothing"]  # of a map: it writes no text
Broken = Literal["resume", "redo"]
Need = Literal["grammar", "choices", "json_schema", "regex", "logprobs"]  # of an engine's capabilities
# The end of a prompt's variable part that is cut off; or what makes of it a text of about that share of its length.
Truncate = Literal["head", "tail"] | Callable[[str, float], str]


class Record(msgspec.Struct):
    """Base of the items that a pipeline's author defines: typed, JSON on the wire."""


class ParseFailure(msgspec.Struct, frozen=True):
    """A piece of model output that is no item: a typed leaf. The cause never contains the output itself."""

    cause: str


class Parser(Protocol[T]):
    """Turns a stream of text into items as they close.

    `feed(a)` then `feed(b)` gives what `feed(a + b)` gives: how a text was cut into chunks never matters.
    """

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> list[T | ParseFailure]:
        """The items that end in this text."""

    def close(self) -> list[T | ParseFailure]:
        """The items that the end of the stream ends."""

    def coarse(self) -> Parser[T]:
        """What reads in barrier mode in a pipeline with `coarse_barrier`: this parser, or one of coarser items."""


@dataclass(frozen=True, slots=True)
class Prompt(Generic[T]):
    """One LM call. The `fixed` turns, shared by all calls of the stage, come first; the `variable` one is last.

    With `turn="assistant"` the variable part is the beginning of the assistant's own turn, left open for the
    model to continue.

    `subject` names what the call is about (by default the variable part). Decoding is constrained by one of `grammar`
    (GBNF) or `choices`, where the engine can, or `json_schema` or `regex`, which not every engine takes. Of a
    `LineGrammar` the rest is known when a call has broken off, so prefer it to text. Without a `temperature` it is that
    of the model's card, else 0; with one, `seed` does not make a resumed call repeat what an undisturbed one would have
    written.

    Raises:
        PipelineError: it can be no call, whatever the text: no tokens to write, a parser that is none, and so on.
    """

    fixed: list[Message]
    variable: str
    parse: Parser[T]
    max_tokens: int
    subject: str | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    grammar: str | LineGrammar | None = None
    choices: list[str] | None = None
    logprobs: int = 0
    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    turn: Literal["user", "assistant"] = "user"

    def __post_init__(self) -> None:
        check_prompt(self)

    def call(self) -> Call:
        """The call as it travels."""
        return Call(
            messages=[*self.fixed, Message(self.turn, self.variable)],
            max_tokens=self.max_tokens,
            subject=self.variable if self.subject is None else self.subject,
            temperature=self.temperature,
            seed=self.seed,
            stop=self.stop,
            grammar=whole_grammar(self.grammar),
            choices=self.choices,
            logprobs=self.logprobs,
            json_schema=self.json_schema,
            regex=self.regex,
        )


class Gather(Generic[T]):
    """All whole items of one stage in a scope, in the order of their paths; `failures` are its failed leaves.

    `complete` is False where a request ends early (`enough`): more items may have come.
    """

    def __init__(self, items: dict[str, T], failures: dict[str, str] | None = None, *, complete: bool = True) -> None:
        self._items = items
        self.failures = failures or {}
        self.complete = complete

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """(path, item) pairs."""
        return iter(self._items.items())

    def under(self, path: str) -> list[T]:
        """The items at or below a path, such as that of an item of another gather."""
        return [item for at, item in self._items.items() if is_under(at, path)]


@dataclass(slots=True)
class Stage:
    """One stage of a pipeline: what its author wrote, and the node inferred from it."""

    node: Node
    function: Callable[..., Any]
    output: Any
    model: str | None = None
    show: Show = "items"
    many: bool = False
    resources: dict[str, type] = field(default_factory=dict)
    timeout_s: float = 30.0
    within_s: float | None = None
    enough: Callable[..., bool] | None = None
    truncate: Truncate | None = None
    needs: Sequence[Need] = ()

    @property
    def name(self) -> str:
        return self.node.name
