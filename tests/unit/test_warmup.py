"""Filling an engine's prefix cache with the calls that a pipeline's examples make."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import takewhile

from alto_streams.agents.lm.needs import examples_of
from alto_streams.agents.lm.warmup import warm_up
from alto_streams.define.pipeline import Pipeline, Prompt
from alto_streams.errors import EngineUnavailable
from alto_streams.models.protocol import Capabilities, Piece
from alto_streams.pipelines.factcheck import Claim, Query, pipeline
from alto_streams.wire.records import Call


class Listening:
    """An engine that remembers its calls; it is down from the `dies`-th on."""

    def __init__(self, dies: int = 100) -> None:
        self.calls: list[tuple[str, Call]] = []
        self._dies = dies

    name = "engine listening"
    capabilities = Capabilities(slots=1, context_tokens=1, continues=True)

    async def ready(self) -> None: ...

    async def close(self) -> None: ...

    async def generate(
        self,
        call: Call,
        *,
        prefix: str = "",
        prefix_tokens: list[int] | None = None,
        prompt_class: str = "",
        by_line: bool = False,
        priority: int = 0,
    ) -> AsyncGenerator[Piece, None]:
        if len(self.calls) >= self._dies:
            raise EngineUnavailable("engine listening: down")
        self.calls.append((prompt_class, call))
        yield Piece("x", finish="length")


STAGES = [(pipeline, stage) for stage in pipeline.models()["judge"]]


async def test_each_prompt_class_is_called_once_for_one_token() -> None:
    engine = Listening()
    await warm_up(engine, "judge", examples_of(STAGES))
    assert [name for name, _ in engine.calls] == ["factcheck.claims", "factcheck.queries", "factcheck.verdict"]
    assert {call.max_tokens for _, call in engine.calls} == {1}


async def test_the_example_shares_its_beginning_with_a_real_call() -> None:
    example = pipeline.example_call("queries")
    real = pipeline.stages["queries"].function(claim=Claim("The capital of Peru is Lima.")).call()
    assert example is not None
    assert example.messages[:-1] == real.messages[:-1]
    ours, theirs = example.messages[-1].content, real.messages[-1].content
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))
    assert shared > 0.8 * len(ours)


async def test_an_engine_that_is_down_is_left_alone() -> None:
    engine = Listening(dies=1)
    await warm_up(engine, "judge", examples_of(STAGES))
    assert len(engine.calls) == 1


async def test_a_prompt_that_raises_costs_only_its_own_warm_up() -> None:
    broken = Pipeline("broken", request=Claim)

    @broken.generate(model="judge")
    def queries(claim: Claim) -> Prompt[Query]:
        raise KeyError("an author's own mistake")

    broken.examples(Claim("The capital of Peru is Lima."))
    engine = Listening()
    await warm_up(engine, "judge", examples_of([(broken, "queries"), *STAGES]))
    assert len(engine.calls) == len(STAGES)
