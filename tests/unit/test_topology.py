"""What is inferred from a pipeline's types: lineages, scopes, routes and barriers."""

from __future__ import annotations

from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.define.topology import Feed, Route
from tests.simulation.script import Lines
from tests.simulation.script import pipeline as factcheck
from tests.unit.shapes import A, B, C, D, E, Q


class R(Record, frozen=True):
    count: int


def prompt(text: str, kind: type[Record]) -> Prompt[object]:
    return Prompt([], text, Lines(kind), 10)


def node(stage: str) -> object:
    return factcheck.stages[stage].node


class TestFactCheck:
    def test_lineages(self) -> None:
        assert {s.name: s.node.lineage for s in factcheck.stages.values()} == {
            "answer": ("answer",),
            "claims": ("answer", "claims"),
            "queries": ("answer", "claims", "queries"),
            "evidence": ("answer", "claims", "queries", "evidence"),
            "verdict": ("answer", "claims", "verdict"),
            "report": ("report",),
        }

    def test_drivers_and_depths(self) -> None:
        assert {s.name: (s.node.driver, s.node.depth) for s in factcheck.stages.values()} == {
            "answer": ("request", 0),
            "claims": ("answer", 1),
            "queries": ("claims", 2),
            "evidence": ("queries", 3),
            "verdict": ("claims", 2),
            "report": ("request", 0),
        }

    def test_scopes(self) -> None:
        assert factcheck.root == "report"
        assert factcheck.stages["verdict"].node.scopes == {"found": ("queries", "evidence")}
        assert factcheck.stages["report"].node.scopes == {
            "claims": ("answer", "claims"),
            "verdicts": ("answer", "claims", "verdict"),
        }

    def test_routes_from_claims(self) -> None:
        assert factcheck.stages["claims"].node.routes == [
            Route("queries", children=True, closes=False, held=True),
            Route("evidence", children=False, closes=False, held=True),
            Route("verdict", children=True, closes=False, held=True),
            Route("report", children=True, closes=True, held=False),
        ]

    def test_routes_of_the_ends(self) -> None:
        assert factcheck.stages["evidence"].node.routes == [Route("verdict", children=True, closes=True, held=True)]
        assert factcheck.stages["report"].node.routes == []

    def test_barrier_chains(self) -> None:
        assert {s.name: list(s.node.barrier.values()) for s in factcheck.stages.values()} == {
            "answer": [],
            "claims": [("answer",)],
            "queries": [("answer", "claims")],
            "evidence": [("answer", "claims", "queries")],
            "verdict": [("answer", "claims", "queries", "evidence")],
            "report": [],
        }

    def test_feeds(self) -> None:
        verdict = factcheck.stages["verdict"].node
        assert verdict.feeds("queries", barrier=False) == [Feed("found", leaf=False)]
        assert verdict.feeds("evidence", barrier=False) == [Feed("found", leaf=True)]
        assert verdict.feeds("claims", barrier=False) == []
        assert [feed.leaf for feed in verdict.feeds("claims", barrier=True)] == [False]


class TestOtherShapes:
    def test_five_levels_deep(self) -> None:
        deep = Pipeline("deep", request=Q)

        @deep.generate(model="m")
        def a(q: Q) -> Prompt[A]:
            return prompt(q.text, A)  # type: ignore[return-value]

        @deep.map()
        async def b(a: A) -> list[B]:
            return []

        @deep.generate(model="m")
        def c(b: B) -> Prompt[C]:
            return prompt(b.text, C)  # type: ignore[return-value]

        @deep.map()
        async def d(c: C) -> D:
            return D(c.text)

        @deep.generate(model="m")
        def e(d: D, b: B, q: Q) -> Prompt[E]:
            return prompt(d.text, E)  # type: ignore[return-value]

        @deep.gather
        def r(e: Gather[E]) -> R:
            return R(len(e))

        assert deep.root == "r"
        assert deep.stages["e"].node.lineage == ("a", "b", "c", "d", "e")
        assert deep.stages["e"].node.driver == "d"
        assert deep.stages["r"].node.scopes == {"e": ("a", "b", "c", "d", "e")}
        assert [r.consumer for r in deep.stages["b"].node.routes] == ["c", "d", "e", "r"]
        assert (deep.stages["b"].many, deep.stages["d"].many) == (True, False)

    def test_two_branches_from_one_item(self) -> None:
        fork = Pipeline("fork", request=Q)

        @fork.generate(model="m")
        def a(q: Q) -> Prompt[A]:
            return prompt(q.text, A)  # type: ignore[return-value]

        @fork.generate(model="m")
        def b(a: A) -> Prompt[B]:
            return prompt(a.text, B)  # type: ignore[return-value]

        @fork.generate(model="m")
        def c(a: A) -> Prompt[C]:
            return prompt(a.text, C)  # type: ignore[return-value]

        @fork.gather
        def d(a: A, b: Gather[B], c: Gather[C]) -> D:
            return D("")

        @fork.gather
        def r(d: Gather[D]) -> R:
            return R(len(d))

        assert fork.root == "r"
        assert fork.stages["d"].node.scopes == {"b": ("b",), "c": ("c",)}
        assert fork.stages["d"].node.lineage == ("a", "d")
        assert sorted(fork.stages["d"].node.barrier.values()) == [("a", "b"), ("a", "c")]
        assert [r.consumer for r in fork.stages["a"].node.routes] == ["b", "c", "d", "r"]

    def test_a_leaf_that_nobody_consumes_is_waited_for(self) -> None:
        loose = Pipeline("loose", request=Q)

        @loose.generate(model="m")
        def a(q: Q) -> Prompt[A]:
            return prompt(q.text, A)  # type: ignore[return-value]

        @loose.map()
        async def b(a: A) -> B:
            return B(a.text)

        @loose.gather
        def r(q: Q, a: Gather[A]) -> R:
            return R(len(a))

        assert loose.root == "r"
        assert loose.stages["r"].node.scopes == {"a": ("a",), "leaf:b": ("a", "b")}
        assert loose.stages["b"].node.routes == [Route("r", children=True, closes=True, held=False)]

    def test_a_gather_may_feed_a_call(self) -> None:
        turn = Pipeline("turn", request=Q)

        @turn.generate(model="m")
        def a(q: Q) -> Prompt[A]:
            return prompt(q.text, A)  # type: ignore[return-value]

        @turn.generate(model="m")
        def b(q: Q, a: Gather[A]) -> Prompt[B]:
            return prompt(q.text, B)  # type: ignore[return-value]

        @turn.gather
        def r(b: Gather[B]) -> R:
            return R(len(b))

        assert turn.root == "r"
        assert turn.stages["b"].node.scopes == {"a": ("a",)}
        assert (turn.stages["b"].node.depth, turn.stages["b"].node.driver) == (0, "request")
        assert turn.models() == {"m": ["a", "b"]}
