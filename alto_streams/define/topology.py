"""What the framework infers from a pipeline's types: lineages, scopes, and which record goes to whom. Pure.

Each stage's items stand one level below its calls, and its calls stand at the paths of the items that drive them, so
the *lineage* of a stage (the stages whose streams make up the levels of its items' paths) follows from its inputs:

    answer (answer,)  claims (answer, claims)  queries (answer, claims, queries)  verdict (answer, claims, verdict)

A stage with the inputs (Claim, Gather[Passage]) runs once per claim, and the scope of its gather is the subtree under
that claim: the streams of `queries` at the claim and of `evidence` at each query.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from alto_streams.errors import PipelineError
from alto_streams.wire.paths import MAX_DEPTH

REQUEST = "request"


class Kind(StrEnum):
    """What a call of a stage is: an LM call, an async function, or a pure function over a whole scope."""

    GENERATE = "generate"
    MAP = "map"
    GATHER = "gather"


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter of a stage: items of `source`; `gathered` where it wants all of them in the call's scope."""

    parameter: str
    source: str
    gathered: bool = False


@dataclass(frozen=True, slots=True)
class Feed:
    """How a source's records advance one scope of a stage: its children (a leaf) or only its closes."""

    scope: str
    leaf: bool


@dataclass(frozen=True, slots=True)
class Route:
    """The records of one stage that another consumes: its children, its closes, its closes in barrier mode."""

    consumer: str
    children: bool
    closes: bool
    held: bool


@dataclass(slots=True)
class Node:
    """One stage, as inferred.

    `depth`: the levels of its calls' paths. `driver`: the stage whose items each cause one call. `scopes`: gathered
    parameter -> the chain of stages from the call's scope to the leaves. `barrier`: the chains, from the root, that
    must be complete before a call starts in barrier mode. `redoes`: a call that breaks begins again, and its children
    are withdrawn. `derived`: the stages whose inputs descend from this one's items. `below`: itself, and the stages
    whose items stand below its own. `volatile`: what it gathers may be withdrawn once it is complete.
    """

    name: str
    kind: Kind
    inputs: list[Input]
    lineage: tuple[str, ...]
    scopes: dict[str, tuple[str, ...]]
    routes: list[Route] = field(default_factory=list)
    redoes: bool = False
    derived: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    volatile: bool = False
    depth: int = field(init=False)
    driver: str = field(init=False)

    def __post_init__(self) -> None:
        self.depth = len(self.lineage) - 1
        self.driver = self.lineage[-2] if self.depth else REQUEST

    @property
    def barrier(self) -> dict[str, tuple[str, ...]]:
        above = self.lineage[:-1]
        chains = {chain for chain in (above, *(above + scope for scope in self.scopes.values())) if chain}
        longest = [c for c in chains if not any(c != other and other[: len(c)] == c for other in chains)]
        return {"barrier:" + "/".join(chain): chain for chain in sorted(longest)} if self.depth else {}

    def feeds(self, source: str, *, barrier: bool) -> list[Feed]:
        """The scopes of this stage that records of `source` advance; those of the barrier mode if `barrier`."""
        chains = self.barrier if barrier else self.scopes
        return [Feed(name, chain[-1] == source) for name, chain in chains.items() if source in chain]

    def descends_from(self, source: str) -> bool:
        """Whether what it works on, or waits for, comes through the streams of `source`."""
        return source in self.lineage[:-1] or any(source in self.lineage[:-1] + chain for chain in self.scopes.values())

    def takes(self, source: str) -> bool:
        """Whether it needs the values of `source`: one of its inputs, or what drives its calls."""
        return source == self.driver or any(i.source == source for i in self.inputs)


def infer(pipeline: str, name: str, kind: Kind, inputs: list[Input], known: dict[str, Node]) -> Node:
    """The node of one stage, given those defined before it.

    Raises:
        PipelineError: its inputs do not stand on one line of ancestors, or it gathers what lies outside its scope.
    """

    def refuse(reason: str) -> PipelineError:
        return PipelineError(f"pipeline {pipeline!r}, stage {name!r}: {reason}")

    if name in known or name == REQUEST:
        raise refuse("a stage of this name exists already")
    if not inputs:
        raise refuse("it has no inputs: give it a parameter of a record type that an earlier stage produces")
    above: tuple[str, ...] = ()
    for each in inputs:
        line = known[each.source].lineage if each.source != REQUEST else ()
        if each.gathered:
            continue
        if len(line) >= len(above):
            above, shorter = line, above
        else:
            shorter = line
        if above[: len(shorter)] != shorter:
            raise refuse(
                f"its inputs do not descend from one another ({'/'.join(above)} and {'/'.join(shorter)}); "
                "gather one of them, or take it from a common ancestor"
            )
    scopes = {}
    for each in inputs:
        if not each.gathered:
            continue
        if each.source == REQUEST:
            raise refuse("there is one request: take it as it is, without Gather")
        line = known[each.source].lineage
        if line[: len(above)] != above or len(line) == len(above):
            raise refuse(f"it gathers {each.source!r}, which does not lie below {'/'.join(above) or 'the request'}")
        scopes[each.parameter] = line[len(above) :]
    if len(above) >= MAX_DEPTH:
        raise refuse(f"its items would stand {len(above) + 1} levels deep; at most {MAX_DEPTH}")
    if kind is Kind.GATHER and not scopes:
        raise refuse("a gather needs at least one Gather[...] parameter")
    return Node(name, kind, inputs, (*above, name), scopes)


def connect(pipeline: str, nodes: dict[str, Node]) -> str:
    """Fill in every stage's routes and return the root: the one gather over the whole request.

    A stage that nobody consumes is accounted for by the root all the same, so that a request ends only when all of
    it has.

    Raises:
        PipelineError: there is not exactly one root.
    """
    consumed = {each.source for node in nodes.values() for each in node.inputs}
    roots = [n.name for n in nodes.values() if n.kind is Kind.GATHER and n.depth == 0 and n.name not in consumed]
    if len(roots) != 1:
        found = ", ".join(roots) or "none"
        raise PipelineError(
            f"pipeline {pipeline!r}: needs exactly one gather over the whole request, as its last stage; found: {found}"
        )
    root = nodes[roots[0]]
    for node in nodes.values():
        if node is not root and node.name not in consumed:
            root.scopes[f"leaf:{node.name}"] = node.lineage
    for source in nodes.values():
        source.routes = [r for node in nodes.values() if (r := _route(source, node)) is not None]
        source.below = tuple(n.name for n in nodes.values() if source.name in n.lineage)
        source.derived = tuple(n.name for n in nodes.values() if n is not source and n.descends_from(source.name))
    for node in nodes.values():  # each after the stages that it takes
        gathered = {stage for chain in node.scopes.values() for stage in chain}
        node.volatile = any(nodes[stage].redoes or nodes[stage].volatile for stage in gathered)
    return root.name


def _route(source: Node, node: Node) -> Route | None:
    feeds = node.feeds(source.name, barrier=False)
    held = node.feeds(source.name, barrier=True)
    if not node.takes(source.name) and not feeds and not held:
        return None
    children = node.takes(source.name) or any(feed.leaf for feed in feeds)
    return Route(node.name, children, bool(feeds), bool(held))
