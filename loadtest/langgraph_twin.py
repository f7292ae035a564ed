"""The reference pipeline as a LangGraph program, written as its documentation teaches to write one.

    prompt -> answer -> claims -> (per claim: queries -> two searches -> verdict) -> report

Every stage is an async node of a `StateGraph`, what it needs of the outside is the run's `context`, and results meet in
channels with reducers. Fan-out is `Send`: one per claim, and within a claim one per query. Whatever is known to make
such a program fast is used:

- A graph advances in supersteps: what follows a node waits for all that runs beside it. So a claim's stages are a
  subgraph, as LangGraph's maintainers advise (langchain-ai/langgraph#6320, #4673), and the whole claim is one task of
  the outer superstep: no claim waits for another one's queries or searches.
- The subgraph is itself the node, not called within one: it shares the key `verdicts` with the graph around it, and
  its output is narrowed to that key, so that nothing is added twice.
- Routers are async as the nodes are: LangGraph runs plain functions in threads.
- There is no checkpointer, no tracing and no callback, and the engines live in the same process.
- The answer is streamed to the reader token by token in the `custom` mode, which is there for models that are no
  LangChain integration; each verdict leaves in the `updates` mode as soon as its claim is done.

What remains is what a node is: it takes whole outputs of the nodes before it. So the claims' call waits for the end of
the answer and is one call about all of it, the first claim waits for the line of the last one, the first search for
the second query, and a verdict is told once its explanation has been written, although it stands in front of it.

Prompts and parsers are those of the reference workload's own pipeline, so that the calls are the same.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, TypeVar, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from alto_streams.define.pipeline import Gather, ParseFailure, Prompt
from alto_streams.models.protocol import Engine, Piece
from loadtest.reference import pipeline as reference

T = TypeVar("T")


class Judged(TypedDict):
    """One claim's verdict. `place`: of the claim, in the order of the answer."""

    place: int
    claim: str
    label: bool | None


class Request(TypedDict):
    """What goes into the graph."""

    prompt: str


class Report(TypedDict):
    """What comes out of it: the verdicts, in the order of the answer."""

    labels: list[bool | None]


class State(Request, Report):
    """Of one request."""

    answer: str
    claims: list[str]
    verdicts: Annotated[list[Judged], operator.add]


class ClaimRequest(TypedDict):
    """What goes into the subgraph of a claim."""

    place: int
    claim: str


class ClaimReport(TypedDict):
    """What comes out of it."""

    verdicts: Annotated[list[Judged], operator.add]


class ClaimState(ClaimRequest, ClaimReport):
    """Of one claim."""

    queries: list[str]
    passages: Annotated[list[str], operator.add]


class QueryRequest(TypedDict):
    """What goes into one search."""

    query: str


class Models:
    """The client of several engines: a call goes to the one with the fewest calls."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = list(engines)
        self._calls = [0] * len(self._engines)

    async def astream(self, stage: str, prompt: Prompt[Any]) -> AsyncGenerator[str, None]:
        """The completion, token by token."""
        chosen = min(range(len(self._engines)), key=self._calls.__getitem__)
        self._calls[chosen] += 1
        pieces = self._engines[chosen].generate(prompt.call(), prompt_class=f"{reference.pipeline.name}.{stage}")
        try:
            async with aclosing(cast("AsyncGenerator[Piece, None]", pieces)):
                async for piece in pieces:
                    if piece.text:
                        yield piece.text
        finally:
            self._calls[chosen] -= 1

    async def ainvoke(self, stage: str, prompt: Prompt[T]) -> list[T]:
        """The items of the whole completion. Raises `ValueError` if one of them cannot be read."""
        text = "".join([token async for token in self.astream(stage, prompt)])
        items: list[T] = []
        for item in [*prompt.parse.feed(text), *prompt.parse.close()]:
            if isinstance(item, ParseFailure):
                raise ValueError(f"{stage}: {item.cause}")
            items.append(item)
        return items


@dataclass(frozen=True, slots=True)
class Services:
    """What the nodes need of the outside."""

    models: Models
    search: reference.Search


Graph = CompiledStateGraph[State, Services, Request, Report]


async def answer(state: Request, runtime: Runtime[Services]) -> dict[str, Any]:
    """Write the answer, and show it as it is written."""
    prompt = reference.answer(reference.Question(state["prompt"]))
    tokens = []
    async for token in runtime.context.models.astream("answer", prompt):
        runtime.stream_writer(token)
        tokens.append(token)
    return {"answer": "".join(tokens).strip()}


async def claims(state: State, runtime: Runtime[Services]) -> dict[str, Any]:
    """The checkable statements of the whole answer."""
    found = await runtime.context.models.ainvoke("claims", reference.claims(reference.Sentence(state["answer"])))
    return {"claims": [claim.claim for claim in found]}


async def check_each(state: State) -> list[Send] | Literal["report"]:
    """One subgraph per claim, all at once."""
    return [
        Send("check_claim", ClaimRequest(place=place, claim=claim)) for place, claim in enumerate(state["claims"])
    ] or "report"


async def report(state: State) -> dict[str, Any]:
    """The verdicts in the order of the answer, in whichever they came."""
    return {"labels": [each["label"] for each in sorted(state["verdicts"], key=lambda each: each["place"])]}


async def queries(state: ClaimState, runtime: Runtime[Services]) -> dict[str, Any]:
    """What to search for."""
    found = await runtime.context.models.ainvoke("queries", reference.queries(reference.Claim(state["claim"])))
    return {"queries": [query.query for query in found]}


async def search_each(state: ClaimState) -> list[Send] | Literal["verdict"]:
    """One search per query, all at once."""
    return [Send("search", QueryRequest(query=query)) for query in state["queries"]] or "verdict"


async def search(state: QueryRequest, runtime: Runtime[Services]) -> dict[str, Any]:
    """Evidence for one query."""
    passage = await runtime.context.search.search(state["query"])
    return {"passages": [passage.text]}


async def verdict(state: ClaimState, runtime: Runtime[Services]) -> dict[str, Any]:
    """Whether the evidence bears the claim out."""
    found = Gather({str(place): reference.Passage(text) for place, text in enumerate(state["passages"])})
    prompt = reference.verdict(reference.Claim(state["claim"]), found)
    (judged,) = await runtime.context.models.ainvoke("verdict", prompt)
    return {"verdicts": [Judged(place=state["place"], claim=state["claim"], label=judged.label)]}


def claim_graph() -> CompiledStateGraph[ClaimState, Services, ClaimRequest, ClaimReport]:
    """One claim's stages."""
    builder = StateGraph(ClaimState, Services, input_schema=ClaimRequest, output_schema=ClaimReport)
    builder.add_node(queries)
    builder.add_node(search, input_schema=QueryRequest)
    builder.add_node(verdict)
    builder.add_edge(START, "queries")
    builder.add_conditional_edges("queries", search_each, ["search", "verdict"])
    builder.add_edge("search", "verdict")
    builder.add_edge("verdict", END)
    return builder.compile()


def request_graph() -> Graph:
    """The whole pipeline. Run it with `context=Services(...)`."""
    builder = StateGraph(State, Services, input_schema=Request, output_schema=Report)
    builder.add_node(answer, input_schema=Request)
    builder.add_node(claims)
    builder.add_node("check_claim", claim_graph())
    builder.add_node(report)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "claims")
    builder.add_conditional_edges("claims", check_each, ["check_claim", "report"])
    builder.add_edge("check_claim", "report")
    builder.add_edge("report", END)
    return builder.compile()
