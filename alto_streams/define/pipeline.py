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

After a crash the functions of generate and gather stages may be run again: they must say the same of the same inputs.
What a map function returns is in the log, so it may look at the world.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from alto_streams.define.stages import Broken, Need, Show, Stage, Truncate
from alto_streams.define.stages import Gather as Gather
from alto_streams.define.stages import ParseFailure as ParseFailure
from alto_streams.define.stages import Parser as Parser
from alto_streams.define.stages import Prompt as Prompt
from alto_streams.define.stages import Record as Record
from alto_streams.define.topology import REQUEST, Input, Kind, connect, infer
from alto_streams.errors import PipelineError
from alto_streams.wire.records import Call

F = TypeVar("F", bound=Callable[..., Any])


class Pipeline:
    """A typed graph of stages; `PipelineError`, with stage and reason, as soon as a stage cannot be inferred.

    `shed`: a request that can no longer meet its deadline ends at once, with the status `shed`, so that what it would
    have taken goes to those that can.

    Barrier mode makes the calls of stream mode, each once the stages before it have finished for the request. With
    `coarse_barrier` a parser with a coarser form reads by that form there: the sentences of an answer become one item,
    and the next stage makes one call for all of them.
    """

    def __init__(self, name: str, request: type[Record], *, shed: bool = False, coarse_barrier: bool = False) -> None:
        if not name.isidentifier() or not name.islower():
            raise PipelineError(f"pipeline {name!r}: its name becomes part of topic names; use lower-case letters")
        self.name = name
        self.request = request
        self.shed = shed
        self.coarse_barrier = coarse_barrier
        self.stages: dict[str, Stage] = {}
        self._producers: dict[Any, str] = {request: REQUEST}
        self._factories: dict[type, Callable[[], Any]] = {}
        self._examples: dict[type, Record] = {}
        self._root: str | None = None

    def generate(
        self,
        *,
        model: str,
        show: Show = "items",
        broken: Broken = "resume",
        within_s: float | None = None,
        truncate: Truncate | None = None,
        needs: Sequence[Need] = (),
    ) -> Callable[[F], F]:
        """An LM call per item: the function returns its `Prompt[T]`. `show` is what a client sees of it.

        `broken`: what becomes of a call whose worker or engine fails in the middle: the next attempt continues from the
        accepted text, or all of it is withdrawn, with all that came of it, and written anew. `within_s`: a call that
        has not ended by then, in seconds from its dispatch, fails.

        `truncate`: which end of the prompt's variable part is cut off where the prompt is too long for the engine, or a
        function of that part and the share of it that may stay (0 to 1), asked for less until it fits. Without it such
        a call fails. `needs`: what the engine must be able to do for its output to be of use; no worker starts without.
        """

        def define(function: F) -> F:
            if unknown := set(needs) - set(typing.get_args(Need)):
                raise self._bad(function, f"needs={sorted(unknown)}: expected some of {typing.get_args(Need)}")
            if isinstance(truncate, str) and truncate not in ("head", "tail"):
                raise self._bad(function, f"truncate={truncate!r}: expected 'head', 'tail' or a function")
            options = {"model": model, "show": show, "within_s": within_s, "truncate": truncate, "needs": needs}
            stage = self._add(function, Kind.GENERATE, **options)
            stage.node.redoes = broken == "redo"
            return function

        return define

    def map(self, *, show: Show = "nothing", timeout_s: float = 30.0) -> Callable[[F], F]:
        """An async function per item, which may do slow I/O. It returns T, or list[T] for several items."""

        def define(function: F) -> F:
            if not inspect.iscoroutinefunction(function):
                raise self._bad(function, "a map must be an async def")
            self._add(function, Kind.MAP, show=show, timeout_s=timeout_s)
            return function

        return define

    @overload
    def gather(self, function: F) -> F: ...

    @overload
    def gather(self, *, enough: Callable[..., bool]) -> Callable[[F], F]: ...

    def gather(self, function: F | None = None, *, enough: Callable[..., bool] | None = None) -> F | Callable[[F], F]:
        """A function over a whole scope. The one over the whole request gives the request's result.

        `enough`, of the last stage only, takes the same parameters with what is final so far (closed values of closed
        streams), and says whether the request may end now: its other calls are cancelled, and the result is made of
        all that has come by then.
        """

        def define(function: F) -> F:
            self._add(function, Kind.GATHER, enough=enough)
            return function

        return define if function is None else define(function)

    def resource(self, factory: F) -> F:
        """What map functions may take beside records, made once per worker by `factory`, known by its return type."""
        self._factories[typing.get_type_hints(factory)["return"]] = factory
        return factory

    def examples(self, *records: Record) -> None:
        """One record of each type that generate stages take: engines are warmed up with the calls that these make."""
        self._examples |= {type(record): record for record in records}

    def example_request(self) -> Record | None:
        """The request among the examples, if one was given."""
        return self._examples.get(self.request)

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
            for name, stage in self.stages.items():
                if stage.enough is not None and name != self._root:
                    raise PipelineError(
                        f"pipeline {self.name!r}, stage {name!r}: only the last stage may have `enough`"
                    )
        return self._root

    def redo(self, stage: str) -> None:
        """Broken calls of this stage begin anew, whatever it says. Raises `PipelineError` if there is none."""
        if stage not in self.stages or self.stages[stage].model is None:
            raise PipelineError(f"pipeline {self.name!r}: there is no generate stage {stage!r}")
        self.stages[stage].node.redoes = True
        self._root = connect(self.name, {name: each.node for name, each in self.stages.items()})

    def lineage(self, source: str) -> tuple[str, ...]:
        """The stages whose streams make up the levels of the paths of a stage's items; none for the request."""
        return () if source == REQUEST else self.stages[source].node.lineage

    def models(self) -> dict[str, list[str]]:
        """Each model's name with the stages that call it."""
        found: dict[str, list[str]] = {}
        for stage in self.stages.values():
            if stage.model is not None:
                found.setdefault(stage.model, []).append(stage.name)
        return found

    def _bad(self, function: Callable[..., Any], what: str) -> PipelineError:
        return PipelineError(f"pipeline {self.name!r}, stage {function.__name__!r}: {what}")

    def _add(self, function: Callable[..., Any], kind: Kind, **options: Any) -> Stage:
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
        return self.stages[name]

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


def _named(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if hint is not None else "nothing (annotate it)"
