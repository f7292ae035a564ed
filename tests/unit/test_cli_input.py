"""What `ask` and `run` take as the input of a request, of any pipeline."""

from __future__ import annotations

import io
from typing import Annotated, Any

import msgspec
import pytest

from alto_streams.cli import run_command
from alto_streams.cli.ask import text_of
from alto_streams.cli.rows import Line, Row, Rows, fitted
from alto_streams.define.forms import Form, form_of
from alto_streams.errors import ConfigError
from alto_streams.pipelines.factcheck import Question


class Topic(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    most: int = 3
    style: str = "plain"


class Place(msgspec.Struct):
    latitude: float
    longitude: float


class Walk(msgspec.Struct):
    id: str
    start: Place
    input: str | None = None


QUESTION, TOPIC, WALK = form_of("factcheck", Question), form_of("summaries", Topic), form_of("walks", Walk)


@pytest.mark.parametrize(
    ("form", "text", "wanted"),
    [
        (QUESTION, "What is neon?", {"prompt": "What is neon?"}),
        (QUESTION, "{no JSON", {"prompt": "{no JSON"}),
        (QUESTION, "[1]", {"prompt": "[1]"}),
        (TOPIC, "volcanoes", {"name": "volcanoes"}),
        (TOPIC, ' {"name": "volcanoes", "most": 3}', {"name": "volcanoes", "most": 3}),
        (WALK, '{"start": {}}', {"start": {}}),  # the gateway says what is wrong in it
    ],
)
def test_fields_or_the_text_of_the_only_field_that_takes_one(form: Form, text: str, wanted: dict[str, Any]) -> None:
    assert form.input_of(text) == wanted


def test_a_text_that_no_field_is_for_is_refused_with_the_fields() -> None:
    with pytest.raises(ConfigError, match=r"walks has the fields id \(string\), start \(object\), input"):
        WALK.input_of("round the lake")


def line(number: int, **fields: Any) -> Line:
    return Line(f"--input in.jsonl, line {number}", str(number), fields)


def test_a_row_is_the_requests_own_fields_or_an_input() -> None:
    lines = [line(1, name="volcanoes", most=2), line(2, input={"name": "glaciers"}), line(3, name="rain", label=True)]
    assert fitted(lines, TOPIC) == Rows(
        [Row("1", {"name": "volcanoes", "most": 2}), Row("2", {"name": "glaciers"}), Row("3", {"name": "rain"})],
        ["label"],
    )


def test_a_request_with_fields_id_and_input_of_its_own_is_written_as_an_input() -> None:
    start = {"latitude": 1.0, "longitude": 2.0}
    given = {"id": "7", "start": start, "input": "map"}
    assert fitted([line(1, input=given)], WALK).rows == [Row("1", given)]


@pytest.mark.parametrize(
    ("form", "fields", "said"),
    [
        (
            QUESTION,
            {"prompt": "x", "stop_at_first_flase": True},
            "field `stop_at_first_flase`; is it `stop_at_first",
        ),
        (TOPIC, {"name": "x", "stlye": "grand"}, "no field `stlye`; is it `style`"),
        (TOPIC, {"most": 2}, r"line 7: it has no `name`; a request of summaries has the fields name \(string\), most"),
        (TOPIC, {"input": {"name": " "}}, "line 7: `name` is empty"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_line_and_field(form: Form, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fitted([line(7, **fields)], form)


@pytest.mark.parametrize("given", ["What is neon?\n", '\n{"prompt": "What is neon?"}\n'])
def test_a_dash_reads_standard_input(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    assert QUESTION.input_of(text_of("-")) == {"prompt": "What is neon?"}


def test_standard_input_without_a_question_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("  \n"))
    assert run_command(["ask", "-"]) == 2
    assert capsys.readouterr().err == "alto-streams: ask: standard input is empty\n"
