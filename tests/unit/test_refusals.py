"""A pipeline that cannot be inferred is refused when it is defined, with the stage and the reason."""

from __future__ import annotations

from typing import Any

import pytest

from alto_streams.define.loading import load_pipelines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.errors import ConfigError, PipelineError
from alto_streams.wire.paths import MAX_DEPTH
from tests.unit.shapes import A, B, C, Q


class R(Record, frozen=True):
    count: int


class Tool:
    """A resource."""


def a(q: Q) -> Prompt[A]:
    raise NotImplementedError


def b(q: Q) -> Prompt[B]:
    raise NotImplementedError


def of(*generated: Any) -> Pipeline:
    pipeline = Pipeline("p", request=Q)
    for function in generated:
        pipeline.generate(model="m")(function)
    return pipeline


def test_unrelated_inputs() -> None:
    def c(a: A, b: B) -> Prompt[C]:
        raise NotImplementedError

    with pytest.raises(
        PipelineError, match=r"stage 'c': its inputs do not descend from one another \(b and a\); gather"
    ):
        of(a, b, c)


def test_gathered_outside_its_scope() -> None:
    def c(a: A, b: Gather[B]) -> Prompt[C]:
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': it gathers 'b', which does not lie below a"):
        of(a, b, c)


def test_gathered_from_its_own_line() -> None:
    def c(a: A, again: Gather[A]) -> Prompt[C]:
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': it gathers 'a', which does not lie below a"):
        of(a, c)


def test_the_request_is_not_gathered() -> None:
    def c(q: Gather[Q]) -> Prompt[C]:
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': there is one request: take it as it is"):
        of(c)


def test_no_inputs() -> None:
    def c() -> Prompt[C]:
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': it has no inputs"):
        of(c)


def test_a_gather_that_gathers_nothing() -> None:
    def r(q: Q) -> R:
        raise NotImplementedError

    with pytest.raises(PipelineError, match=r"stage 'r': a gather needs at least one Gather"):
        of(a).gather(r)


def test_a_type_that_nobody_produces() -> None:
    def c(b: B) -> Prompt[C]:
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': parameter 'b' has type B, which no earlier stage produces"):
        of(a, c)


def test_a_parameter_without_a_type() -> None:
    def c(a) -> Prompt[C]:  # type: ignore[no-untyped-def]
        raise NotImplementedError

    with pytest.raises(PipelineError, match=r"stage 'c': parameter 'a' has type nothing \(annotate it\)"):
        of(a, c)


def test_a_type_that_cannot_be_read() -> None:
    def c(a: Nowhere) -> Prompt[C]:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': its types cannot be read: name 'Nowhere' is not defined"):
        of(a, c)


def test_a_resource_outside_a_map() -> None:
    pipeline = of(a)

    @pipeline.resource
    def tool() -> Tool:
        return Tool()

    def c(a: A, tool: Tool) -> Prompt[C]:
        raise NotImplementedError

    with pytest.raises(PipelineError, match=r"parameter 'tool' has type Tool.*resources are for map stages"):
        pipeline.generate(model="m")(c)


@pytest.mark.parametrize("output", [str, Prompt[str], list[C], None])
def test_an_output_that_is_no_prompt_of_records(output: object) -> None:
    def c(a: A) -> Any:
        raise NotImplementedError

    c.__annotations__["return"] = output
    with pytest.raises(PipelineError, match=r"stage 'c': a generate returns Prompt\[T\] with T a Record, not "):
        of(a, c)


def test_two_stages_of_one_type() -> None:
    def c(a: A) -> Prompt[A]:
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': A is produced by 'a' already"):
        of(a, c)


def test_two_stages_of_one_name() -> None:
    def again(a: A) -> Prompt[C]:
        raise NotImplementedError

    again.__name__ = "a"
    with pytest.raises(PipelineError, match="stage 'a': a stage of this name exists already"):
        of(a, again)


@pytest.mark.parametrize("name", ["Claims", "a-b", "request"])
def test_a_name_that_cannot_be_part_of_a_topic(name: str) -> None:
    def c(q: Q) -> Prompt[C]:
        raise NotImplementedError

    c.__name__ = name
    with pytest.raises(PipelineError, match=f"stage '{name}'"):
        of(c)
    if name != "request":
        with pytest.raises(PipelineError, match=f"pipeline '{name}'"):
            Pipeline(name, request=Q)


def test_a_map_that_is_not_async() -> None:
    def c(a: A) -> C:
        raise NotImplementedError

    with pytest.raises(PipelineError, match="stage 'c': a map must be an async def"):
        of(a).map()(c)


def test_no_root() -> None:
    with pytest.raises(PipelineError, match=r"needs exactly one gather over the whole request.*found: none"):
        _ = of(a).root


def test_two_roots() -> None:
    def r(a: Gather[A]) -> R:
        raise NotImplementedError

    def s(a: Gather[A]) -> C:
        raise NotImplementedError

    pipeline = of(a)
    pipeline.gather(r)
    pipeline.gather(s)
    with pytest.raises(PipelineError, match="found: r, s"):
        _ = pipeline.root


def test_a_stage_after_the_pipeline_was_used() -> None:
    def r(a: Gather[A]) -> R:
        raise NotImplementedError

    pipeline = of(a)
    pipeline.gather(r)
    _ = pipeline.root
    with pytest.raises(PipelineError, match="define all stages before it is used"):
        pipeline.generate(model="m")(b)


def test_deeper_than_a_path() -> None:
    pipeline = Pipeline("p", request=Q)
    above: Any = Q
    for depth in range(MAX_DEPTH + 1):
        below = type(f"Item{depth}", (Record,), {}, frozen=True)

        def stage(item: Any) -> Any:
            raise NotImplementedError

        stage.__name__, stage.__annotations__ = f"s{depth}", {"item": above, "return": Prompt[below]}  # type: ignore[valid-type]
        if depth < MAX_DEPTH:
            pipeline.generate(model="m")(stage)
        else:
            with pytest.raises(PipelineError, match=f"stage 's{depth}': its items would stand {depth + 1} levels deep"):
                pipeline.generate(model="m")(stage)
        above = below


def test_modules_without_a_pipeline() -> None:
    with pytest.raises(ConfigError, match=r"ALTO_PIPELINES: no\.such\.module"):
        load_pipelines(["no.such.module"])
    with pytest.raises(ConfigError, match=r"ALTO_PIPELINES: alto_streams\.wire\.paths"):
        load_pipelines(["alto_streams.wire.paths"])
    with pytest.raises(ConfigError, match=r"ALTO_REDO: other\.answer: there is no pipeline 'other'"):
        load_pipelines(["tests.simulation.script"], ["other.answer"])
    with pytest.raises(ConfigError, match=r"ALTO_REDO: factcheck\.evidence: .* no generate stage 'evidence'"):
        load_pipelines(["tests.simulation.script"], ["factcheck.evidence"])
