"""The programming model: stages as plain typed functions; everything else is inferred from their types.

    pipeline = Pipeline("summaries", request=Question)

    @pipeline.generate(model="chat")
    def points(question: Question) -> Prompt[Point]:
        return Prompt(fixed=[...], variable=question.text, parse=JsonLines(Point))

    @pipeline.gather
    def summary(question: Question, points: Gather[Point]) -> Summary:
        return Summary(...)

A *generate* stage returns the prompt of one LM call and the parser of its output; a *map* is an async function per
item; a *gather* waits for a whole scope. An input that is a record of an earlier stage causes one call per item;
its ancestors may be taken beside it; `Gather[T]` waits for all T below it.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from alto_streams.ancestry import is_under
from alto_streams.records import Call, Message, TokenLogprob
from alto_streams.settings import ConfigError
from alto_streams.topology import REQUEST, Input, Kind, Node, PipelineError, connect, infer

T = TypeVar("T")
Show = Literal["text", "items", "nothing"]
F = TypeVar("F", bound=Callable[..., Any])


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
        """The parser that stands in for this one in barrier mode: itself, or one of coarser items."""


@dataclass(frozen=True, slots=True)
class Prompt(Generic[T]):
    """One LM call. The `fixed` turns, shared by all calls of the stage, come first; the `variable` one is last.

    With `turn="assistant"` the variable part is the beginning of the assistant's own turn, left open for the
    model to continue.

    `subject` names what the call is about (by default the variable part). Decoding is constrained by `grammar` (GBNF)
    or `choices` where the engine can.
    """

    fixed: list[Message]
    variable: str
    parse: Parser[T]
    max_tokens: int
    subject: str | None = None
    temperature: float = 0.0
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    grammar: str | None = None
    choices: list[str] | None = None
    logprobs: int = 0
    turn: Literal["user", "assistant"] = "user"

    def call(self) -> Call:
        """The call as it travels."""
        return Call(
            messages=[*self.fixed, Message(self.turn, self.variable)],
            max_tokens=self.max_tokens,
            subject=self.variable if self.subject is None else self.subject,
            temperature=self.temperature,
            seed=self.seed,
            stop=self.stop,
            grammar=self.grammar,
            choices=self.choices,
            logprobs=self.logprobs,
        )


class Gather(Generic[T]):
    """All whole items of one stage in a scope, in the order of their paths; `failures` are its failed leaves."""

    def __init__(self, items: dict[str, T], failures: dict[str, str] | None = None) -> None:
        self._items = items
        self.failures = failures or {}

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

    @property
    def name(self) -> str:
        return self.node.name


class Pipeline:
    """A typed graph of stages; `PipelineError`, with stage and reason, as soon as a stage cannot be inferred."""

    def __init__(self, name: str, request: type[Record]) -> None:
        if not name.isidentifier() or not name.islower():
            raise PipelineError(f"pipeline {name!r}: its name becomes part of topic names; use lower-case letters")
        self.name = name
        self.request = request
        self.stages: dict[str, Stage] = {}
        self._producers: dict[Any, str] = {request: REQUEST}
        self._factories: dict[type, Callable[[], Any]] = {}
        self._examples: dict[type, Record] = {}
        self._root: str | None = None

    def generate(self, *, model: str, show: Show = "items") -> Callable[[F], F]:
        """An LM call per item: the function returns its `Prompt[T]`. `show` is what a client sees of it."""

        def define(function: F) -> F:
            self._add(function, Kind.GENERATE, model=model, show=show)
            return function

        return define

    def map(self, *, show: Show = "nothing", timeout_s: float = 30.0) -> Callable[[F], F]:
        """An async function per item, which may do slow I/O. It returns T, or list[T] for several items."""

        def define(function: F) -> F:
            if not inspect.iscoroutinefunction(function):
                raise PipelineError(f"pipeline {self.name!r}, stage {function.__name__!r}: a map must be an async def")
            self._add(function, Kind.MAP, show=show, timeout_s=timeout_s)
            return function

        return define

    def gather(self, function: F) -> F:
        """A function over a whole scope. The one over the whole request gives the request's result."""
        self._add(function, Kind.GATHER)
        return function

    def resource(self, factory: F) -> F:
        """What map functions may take beside records, made once per worker by `factory`, known by its return type."""
        self._factories[typing.get_type_hints(factory)["return"]] = factory
        return factory

    def examples(self, *records: Record) -> None:
        """One record of each type that generate stages take: engines are warmed up with the calls that these make."""
        self._examples |= {type(record): record for record in records}

    def example_call(self, stage: str) -> Call | None:
        """The call that the examples make of a generate stage; None where an input has no example."""
        arguments: dict[str, Any] = {}
        for each in self.stages[stage].node.inputs:
            kind = self.request if each.source == REQUEST else self.stages[each.source].output
            if kind not in self._examples:
                return None
            arguments[each.parameter] = Gather({"0": self._examples[kind]}) if each.gathered else self._examples[kind]
        prompt: Prompt[Any] = self.stages[stage].function(**arguments)
        return prompt.call()

    def make(self, kind: type) -> Any:
        """A resource, made now."""
        return self._factories[kind]()

    @property
    def root(self) -> str:
        """The stage that gathers the whole request. Raises `PipelineError` if the pipeline has no such end."""
        if self._root is None:
            self._root = connect(self.name, {name: stage.node for name, stage in self.stages.items()})
        return self._root

    def models(self) -> dict[str, list[str]]:
        """Each model's name with the stages that call it."""
        found: dict[str, list[str]] = {}
        for stage in self.stages.values():
            if stage.model is not None:
                found.setdefault(stage.model, []).append(stage.name)
        return found

    def _add(self, function: Callable[..., Any], kind: Kind, **options: Any) -> None:
        if self._root is not None:
            raise PipelineError(f"pipeline {self.name!r}: define all stages before it is used")
        name = function.__name__
        if not name.isidentifier() or not name.islower():
            raise PipelineError(f"pipeline {self.name!r}, stage {name!r}: use lower-case letters")
        try:
            hints = typing.get_type_hints(function)
        except NameError as error:
            raise PipelineError(f"pipeline {self.name!r}, stage {name!r}: its types cannot be read: {error}") from error
        inputs, resources = self._inputs(name, kind, function, hints)
        output, many = self._output(name, kind, hints.get("return"))
        node = infer(self.name, name, kind, inputs, {n: s.node for n, s in self.stages.items()})
        self.stages[name] = Stage(node, function, output, many=many, resources=resources, **options)
        self._producers[output] = name

    def _inputs(
        self, name: str, kind: Kind, function: Callable[..., Any], hints: dict[str, Any]
    ) -> tuple[list[Input], dict[str, type]]:
        inputs: list[Input] = []
        resources: dict[str, type] = {}
        for parameter in inspect.signature(function).parameters:
            hint = hints.get(parameter)
            gathered = typing.get_origin(hint) is Gather
            wanted = typing.get_args(hint)[0] if gathered else hint
            if wanted in self._producers:
                inputs.append(Input(parameter, self._producers[wanted], gathered))
            elif wanted in self._factories and kind is Kind.MAP:
                resources[parameter] = wanted
            else:
                known = ", ".join(sorted(t.__name__ for t in (*self._producers, *self._factories)))
                raise PipelineError(
                    f"pipeline {self.name!r}, stage {name!r}: parameter {parameter!r} has type {_named(wanted)}, which "
                    f"no earlier stage produces (known: {known}; resources are for map stages)"
                )
        return inputs, resources

    def _output(self, name: str, kind: Kind, hint: Any) -> tuple[Any, bool]:
        origin, wanted = typing.get_origin(hint), hint
        many = kind is Kind.MAP and origin is list
        if many or (kind is Kind.GENERATE and origin is Prompt):
            wanted = typing.get_args(hint)[0]
        if not (isinstance(wanted, type) and issubclass(wanted, Record)):
            expected = {Kind.GENERATE: "Prompt[T]", Kind.MAP: "T or list[T]", Kind.GATHER: "T"}[kind]
            raise PipelineError(
                f"pipeline {self.name!r}, stage {name!r}: a {kind} returns {expected} with T a Record, "
                f"not {_named(hint)}"
            )
        if wanted in self._producers:
            raise PipelineError(
                f"pipeline {self.name!r}, stage {name!r}: {wanted.__name__} is produced by "
                f"{self._producers[wanted]!r} already; give each stage an item type of its own"
            )
        return wanted, many


def load_pipelines(modules: list[str]) -> dict[str, Pipeline]:
    """The pipelines of these modules (each has a `pipeline`), by name, checked.

    Raises:
        ConfigError: a module cannot be imported or has no pipeline, naming `ALTO_PIPELINES`.
        PipelineError: a pipeline has no root.
    """
    found: dict[str, Pipeline] = {}
    for module in modules:
        try:
            pipeline = importlib.import_module(module).pipeline
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"ALTO_PIPELINES: {module}: {error}") from error
        if not isinstance(pipeline, Pipeline):
            raise ConfigError(f"ALTO_PIPELINES: {module}.pipeline is no Pipeline")
        _ = pipeline.root
        found[pipeline.name] = pipeline
    return found


def _named(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if hint is not None else "nothing (annotate it)"
