"""A function of a pipeline's author that raises: log, letter and client name it, with file and line, and no text."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from alto_streams.agents.home.decision_log import DecisionLog
from alto_streams.agents.home.maps import MapRunner
from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.define.raised import MOST_CHARS, raised
from alto_streams.errors import PipelineError
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Row
from alto_streams.tables.turns import Turn
from alto_streams.wire.records import Close, Result
from tests.placing import Always
from tests.unit.homes import REQUEST_ID, STOP, Home, chunk, events, items, request, sent
from tests.unit.shapes import A, B, C, Q

SECRET = "what a user wrote"  # noqa: S105


class Sum(Record):
    count: int


def fail(text: str) -> Any:
    held = f"{SECRET}: {text}"
    raise LookupError(held)


class Failing(Lines[A]):
    def _item(self, line: str) -> Any:
        return fail(line)


def in_prompt(q: Q) -> Prompt[A]:
    return fail(q.text)


def in_parser(q: Q) -> Prompt[A]:
    return Prompt([], q.text, Failing(A), 10)


def plain(q: Q) -> Prompt[A]:
    return Prompt([], q.text, Lines(A), 10)


async def in_map(a: A) -> list[B]:
    return fail(a.text)


def in_gather(a: A, b: Gather[B]) -> C:
    return fail(a.text)


def in_the_last_gather(a: Gather[A]) -> Sum:
    return fail(str(len(a)))


def in_enough(a: Gather[A]) -> bool:
    return fail("enough")


def counted(a: Gather[A]) -> Sum:
    return Sum(len(a))


def of(first: Any = plain, last: Any = counted, enough: Any = None, *more: tuple[str, Any]) -> Pipeline:
    pipeline = Pipeline("factcheck", request=Q)
    pipeline.generate(model="m")(first)
    for kind, function in more:
        getattr(pipeline, kind)(function)
    pipeline.gather(enough=enough)(last)
    return pipeline


def told(pipeline: Pipeline, stage: str, *records: Any, with_values: bool = False) -> list[Turn]:
    home = Home(pipeline, stage)
    home.machine = StageMachine(pipeline, stage, Always(), Limits(4, 5_000, with_values))
    return [home.machine.apply(home.row, record, home.at()) for record in records]


def closed(stage: str, path: str, *values: Any) -> Any:
    return items(stage, path, *values, close=Close(len(values)))


MAPPED = ("map", in_map)
GATHERED = ("gather", in_gather)
ASKED = request(Q("x"))
ONE = items("plain", "", A("x"), close=Close(1))

CASES: dict[str, tuple[Callable[[], list[Turn]], str, str]] = {
    "prompt": (lambda: told(of(in_prompt), "in_prompt", ASKED), "in_prompt", ""),
    "parser": (lambda: told(of(in_parser), "in_parser", ASKED, chunk("", 0, "x\n", end=STOP)), "in_parser", ""),
    "gather": (
        lambda: told(
            of(plain, counted, None, MAPPED, GATHERED), "in_gather", ONE, items("in_map", "0", close=Close(0))
        ),
        "in_gather",
        "0",
    ),
    "last gather": (
        lambda: told(of(plain, in_the_last_gather), "in_the_last_gather", ASKED, ONE),
        "in_the_last_gather",
        "",
    ),
}


def the_letter(turns: list[Turn]) -> Any:
    (letter,) = sent([each for turn in turns for each in turn.asked], "dead-letters.")
    return letter


@pytest.mark.parametrize("kind", list(CASES))
def test_the_letter_has_stage_path_type_file_and_line(kind: str) -> None:
    run, stage, path = CASES[kind]
    letter = the_letter(run())
    assert (letter.stage, letter.request, letter.path) == (stage, REQUEST_ID, path)
    assert letter.cause == f"{stage} raised LookupError"
    line = inspect.getsourcelines(fail)[1] + 2
    assert f'File "{__file__}", line {line}, in fail\n    raise LookupError(held)\nLookupError' in letter.trace
    assert letter.trace.startswith(f'  File "{__file__}"' if kind != "parser" else '  File "')
    assert SECRET not in letter.trace


@pytest.mark.parametrize("kind", list(CASES))
def test_the_client_hears_the_stage_and_the_type(kind: str) -> None:
    run, stage, path = CASES[kind]
    said = events([each for turn in run() for each in turn.asked])
    found = [(each.stage, each.path) for each in said if b'"raised":"LookupError"' in bytes(each.body)]
    assert found == [(stage, path)]


@pytest.mark.parametrize("kind", list(CASES))
def test_the_log_has_one_error_with_the_trace(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    run, stage, path = CASES[kind]
    log = DecisionLog(f"factcheck.{stage}")
    for turn in run():
        log.take(turn)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    said = record.getMessage()
    assert said.startswith(f"factcheck.{stage}: request {REQUEST_ID}, path {path!r}: {stage} raised LookupError, by ")
    assert f'File "{__file__}", line ' in said
    assert SECRET not in said


def test_values_are_told_where_that_is_asked_for() -> None:
    letter = the_letter(told(of(in_prompt), "in_prompt", ASKED, with_values=True))
    assert f"LookupError: {SECRET}: x" in letter.trace
    assert f"held = '{SECRET}: x'" in letter.trace
    assert SECRET not in letter.cause


def test_an_enough_that_raises_is_told_once_and_the_request_goes_on() -> None:
    pipeline = of(plain, counted, in_enough, MAPPED)
    two = items("plain", "", A("x"), A("y"), close=Close(2))
    turns = told(pipeline, "counted", ASKED, two, closed("in_map", "0"), closed("in_map", "1"))
    letter = the_letter(turns)
    assert letter.cause == "counted: its enough raised LookupError"
    assert "in fail\n    raise LookupError(held)" in letter.trace
    (done,) = [each for each in events([a for turn in turns for a in turn.asked]) if each.kind == "done"]
    assert bytes(done.body) == b'{"status":"ok","result":{"count":2}}'


async def result_of(function: Any) -> Result:
    pipeline = Pipeline("factcheck", request=Q)
    pipeline.map(timeout_s=0.05)(function)
    got: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    async def append(partition: int, result: Result) -> None:
        got.set_result(result)

    runner = MapRunner(pipeline, function.__name__, append, 1)
    runner.start(0, REQUEST_ID, "", 1, {"q": Q("x")})
    return await asyncio.wait_for(got, 30)


async def raises(q: Q) -> A:
    return fail(q.text)


async def exits(q: Q) -> A:
    raise SystemExit(SECRET)


async def times_out(q: Q) -> A:
    raise TimeoutError(SECRET)


async def hangs(q: Q) -> A:
    await asyncio.Event().wait()
    return A("")


async def returns_nothing(q: Q) -> list[A]:
    return None  # type: ignore[return-value]


async def returns_another(q: Q) -> A:
    return Q(SECRET)  # type: ignore[return-value]


async def returns_a_number(q: Q) -> A:
    return A(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "cause", "error"),
    [
        (raises, "raises raised LookupError", "LookupError"),
        (exits, "exits raised SystemExit", "SystemExit"),
        (times_out, "times_out raised TimeoutError", "TimeoutError"),
        (hangs, "hangs gave no result within 0.05 s", ""),
        (
            returns_nothing,
            "returns_nothing: it returned None, and its annotation says list[A]",
            "PipelineError",
        ),
        (returns_another, "returns_another: an item is of type Q, and the stage makes A", "PipelineError"),
        (
            returns_a_number,
            "returns_a_number: a A does not hold what its fields say: Expected `str`, got `int` - at `$.text`",
            "PipelineError",
        ),
    ],
)
async def test_a_map_that_raises(function: Any, cause: str, error: str) -> None:
    result = await result_of(function)
    assert (result.cause, result.error, result.children) == (cause, error, [])
    assert SECRET not in result.trace
    assert ("File" in result.trace) == bool(error)


async def test_what_a_map_raised_reaches_letter_and_client() -> None:
    found = await result_of(raises)
    pipeline = Pipeline("factcheck", request=Q)
    pipeline.map(raises)

    @pipeline.gather
    def r(a: Gather[A]) -> Sum:
        return Sum(len(a))

    turns = told(pipeline, "raises", ASKED, found)
    assert the_letter(turns).trace == found.trace
    (event,) = events(turns[-1].asked)  # though the stage shows nothing
    said = {"count": 0, "status": "failed", "cause": "raises raised LookupError", "raised": "LookupError"}
    assert msgspec.json.decode(event.body) == said


def nested() -> None:
    try:
        fail("x")
    except LookupError as error:
        raise ValueError(SECRET) from error


def deep(level: int) -> None:
    if level:
        deep(level - 1)
    fail("y" * 1_000)


def test_what_led_to_it_is_told_and_all_of_it_is_bounded() -> None:
    found = []
    for function in (nested, lambda: deep(300), lambda: (_ for _ in ()).throw(PipelineError("Prompt(max_tokens=0)"))):
        try:
            function()
        except Exception as error:
            found.append(raised("s", error))
    chained, bounded, ours = found
    assert chained.trace.index("\nLookupError") < chained.trace.index("\nValueError")
    assert chained.why == "s raised ValueError"
    assert len(bounded.trace) <= MOST_CHARS
    assert bounded.trace.count("in deep") <= 20
    assert ours.why == "s: Prompt(max_tokens=0)"


def test_a_row_survives() -> None:
    """The state of a call that raised is written and read as any other."""
    home = Home(of(in_prompt), "in_prompt", forgetful=True)
    home.tell(ASKED)
    assert isinstance(home.row, Row)
    assert home.row.calls[""].is_over
