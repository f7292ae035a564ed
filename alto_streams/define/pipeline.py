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

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, overload

from alto_streams.define.decorating import with_options
from alto_streams.define.option_values import check_enough, check_generate, check_map, check_name
from alto_streams.define.options import Flag, Folder
from alto_streams.define.record_types import check_request
from alto_streams.define.signatures import made_by, signature_of
from alto_streams.define.stages import Broken, Need, Show, Shown, Stage, Truncate
from alto_streams.define.stages import Gather as Gather
from alto_streams.define.stages import ParseFailure as ParseFailure
from alto_streams.define.stages import Parser as Parser
from alto_streams.define.stages import Prompt as Prompt
from alto_streams.define.stages import Record as Record
from alto_streams.define.topology import REQUEST, Kind, connect, infer
from alto_streams.errors import PipelineError
from alto_streams.views import View
from alto_streams.wire.records import Call

F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Callable[..., Prompt[Any]])
M = TypeVar("M", bound=Callable[..., Awaitable[Record | Sequence[Record]]])
R = TypeVar("R", bound=Callable[..., Record])


class Pipeline:
    """A typed graph of stages; `PipelineError`, with stage and reason, as soon as a stage cannot be inferred.

    `shed`: a request that can no longer meet its deadline ends at once, with the status `shed`, so that what it would
    have taken goes to those that can. `view`: how its requests are shown and written, if not as those of any pipeline.
    `options`: what it adds to the command line.

    Barrier mode makes the calls of stream mode, each once the stages before it have finished for the request. With
    `coarse_barrier` a parser with a coarser form reads by that form there: the sentences of an answer become one item,
    and the next stage makes one call for all of them.
    """

    def __init__(
        self,
        name: str,
        request: type[Record],
        *,
        shed: bool = False,
        coarse_barrier: bool = False,
        view: View | None = None,
        options: Sequence[Flag | Folder] = (),
    ) -> None:
        where = f"pipeline {name!r}"
        check_name(where, name)
        check_request(where, request)
        if view is not None and not isinstance(view, View):
            raise PipelineError(f"{where}: view={_told(view)}: expected an instance of a View, such as view=MyView()")
        for option in options:
            if not isinstance(option, Flag | Folder):
                raise PipelineError(f"{where}: options: {_told(option)}: expected a Flag or a Folder")
        self.name = name
        self.request = request
        self.shed = shed
        self.coarse_barrier = coarse_barrier
        self.view = view or View()
        self.options = tuple(options)
        self.stages: dict[str, Stage] = {}
        self._producers: dict[Any, str] = {request: REQUEST}
        self._factories: dict[type, Callable[[], Any]] = {}
        self._examples: dict[type, Record] = {}
        self._root: str | None = None

    @with_options('@pipeline.generate(model="chat")')
    def generate(
        self,
        *,
        model: str,
        show: Show = "items",
        broken: Broken = "resume",
        within_s: float | None = None,
        truncate: Truncate | None = None,
        needs: Sequence[Need] = (),
    ) -> Callable[[G], G]:
        """An LM call per item: the function returns its `Prompt[T]`. `show` is what a client sees of it.

        `broken`: what becomes of a call whose worker or engine fails in the middle: the next attempt continues from the
        accepted text, or all of it is withdrawn, with all that came of it, and written anew. `within_s`: a call that
        has not ended by then, in seconds from its dispatch, fails.

        `truncate`: which end of the prompt's variable part is cut off where the prompt is too long for the engine, or a
        function of that part and the share of it that may stay (0 to 1), asked for less until it fits. Without it such
        a call fails. `needs`: what the engine must be able to do for its output to be of use; no worker starts without.
        """

        def define(function: G) -> G:
            options = {"model": model, "show": show, "within_s": within_s, "truncate": truncate, "needs": needs}
            check_generate(self._where(function), broken=broken, **options)
            stage = self._add(function, Kind.GENERATE, **options)
            stage.node.redoes = broken == "redo"
            return function

        return define

    @overload
    def map(self, function: M) -> M: ...

    @overload
    def map(self, *, show: Shown = "nothing", timeout_s: float = 30.0) -> Callable[[M], M]: ...

    @with_options("@pipeline.map")
    def map(
        self, function: M | None = None, *, show: Shown = "nothing", timeout_s: float = 30.0
    ) -> M | Callable[[M], M]:
        """An async function per item, which may do slow I/O. It returns T, or list[T] for several items.

        `timeout_s`: what has not returned by then, in seconds from its start, fails.
        """

        def define(function: M) -> M:
            check_map(self._where(function), show=show, timeout_s=timeout_s)
            self._add(function, Kind.MAP, show=show, timeout_s=timeout_s)
            return function

        return define if function is None else define(function)

    @overload
    def gather(self, function: R) -> R: ...

    @overload
    def gather(self, *, enough: Callable[..., bool] | None = None) -> Callable[[R], R]: ...

    @with_options("@pipeline.gather")
    def gather(self, function: R | None = None, *, enough: Callable[..., bool] | None = None) -> R | Callable[[R], R]:
        """A function over a whole scope. The one over the whole request gives the request's result.

        `enough`, of the last stage only, takes the same parameters with what is final so far (closed values of closed
        streams), and says whether the request may end now: its other calls are cancelled, and the result is made of
        all that has come by then.
        """

        def define(function: R) -> R:
            self._add(function, Kind.GATHER, enough=enough)
            check_enough(self._where(function), enough, function)
            return function

        return define if function is None else define(function)

    @with_options("@pipeline.resource")
    def resource(self, factory: F) -> F:
        """What map functions may take beside records, made once per worker by `factory`, known by its return type."""
        made = made_by(f"pipeline {self.name!r}", factory)
        if made in self._factories:
            raise PipelineError(f"pipeline {self.name!r}: there is a resource of type {made.__name__} already")
        self._factories[made] = factory
        return factory

    def examples(self, *records: Record) -> None:
        """One record of each type that generate stages take: engines are warmed up with the calls that these make."""
        for record in records:
            if not isinstance(record, Record):
                raise PipelineError(f"pipeline {self.name!r}: examples: {_told(record)}: expected records")
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

    def _where(self, function: Any) -> str:
        name = getattr(function, "__name__", None) or type(function).__name__
        return f"pipeline {self.name!r}, stage {name!r}"

    def _add(self, function: Callable[..., Any], kind: Kind, **options: Any) -> Stage:
        if self._root is not None:
            raise PipelineError(f"pipeline {self.name!r}: define all stages before it is used")
        found = signature_of(self._where(function), kind, function, self._producers, self._factories.keys())
        name, (inputs, resources, output, many) = function.__name__, found
        node = infer(self.name, name, kind, inputs, {n: s.node for n, s in self.stages.items()})
        self.stages[name] = Stage(node, function, output, many=many, resources=resources, **options)
        self._producers[output] = name
        return self.stages[name]


def _told(thing: object) -> str:
    """What kind of thing it is: its value may be what a user wrote."""
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
