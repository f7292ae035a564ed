"""Definitions that mean nothing are refused when they are made, one line each: pipeline, stage, reason, remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from alto_streams.define.options import Flag
from alto_streams.define.pipeline import Pipeline, Prompt, Record
from alto_streams.views import View
from tests.unit.definitions import a, first, found, of, r, refused
from tests.unit.shapes import Q


class Lost(Record):
    part: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Handle:
    """What JSON cannot carry."""


class Holding(Record):
    names: list[str]
    handles: dict[str, list[Handle]]


class Around(Record):
    inner: Holding | None


@dataclass
class Plain:
    text: str


class Bare(msgspec.Struct):
    text: str


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        (
            "broken",
            "redoo",
            r"pipeline 'p', stage 'a': broken='redoo': expected 'resume' or 'redo'; did you mean 'redo'",
        ),
        ("broken", "retry", "broken='retry': expected 'resume' or 'redo'"),
        ("broken", True, "broken=True: expected"),
        ("show", "all", "show='all': expected 'text', 'items' or 'nothing'$"),
        ("show", "texts", r"show='texts': expected .*; did you mean 'text'\?"),
        ("within_s", -3, "within_s=-3: expected seconds above 0, or leave it out for no bound"),
        ("within_s", 0, "within_s=0: "),
        ("within_s", float("nan"), "within_s=nan: "),
        ("within_s", "20", "within_s='20': "),
        ("within_s", True, "within_s=True: "),
        ("model", "", r"model='': expected the name of a model of ALTO_MODELS, such as model='chat'"),
        ("model", None, "model=None: "),
        ("model", "chat=openai", "model='chat=openai': "),
        ("needs", "grammar", r"needs='grammar': expected a list, such as needs=\['grammar'\]"),
        ("needs", ["grammer"], "needs='grammer': expected .*; did you mean 'grammar'"),
        ("truncate", "middle", "truncate='middle': expected 'head', 'tail' or a function"),
        ("truncate", 3, "truncate=3: "),
    ],
)
def test_an_option_that_means_nothing(option: str, value: object, says: str) -> None:
    refused(of(a, **{option: value}), says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"show": "text"}, "stage 'found': show='text': a map writes no text; expected 'items' or 'nothing'"),
        ({"show": "item"}, "show='item': expected 'items' or 'nothing'; did you mean 'items'"),
        ({"timeout_s": 0}, "timeout_s=0: expected seconds above 0, such as timeout_s=30"),
        ({"timeout_s": -1.5}, "timeout_s=-1.5: "),
    ],
)
def test_an_option_of_a_map_that_means_nothing(options: dict[str, Any], says: str) -> None:
    refused(lambda: first().map(**options)(found), says)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda p: p.generate(a),
            r"pipeline 'p', stage 'a': it is defined without parentheses; write @pipeline\.generate",
        ),
        (lambda p: p.generate(), r"missing a required argument: 'model'; write @pipeline\.generate\(model=\"chat\"\)"),
        (lambda p: p.generate(modle="m"), r"@pipeline\.generate has no option modle=; did you mean model=\?"),
        (lambda p: p.generate(model="m", retries=3), "no option retries=; known: model, show, broken"),
        (lambda p: p.map(timeout=3), r"@pipeline\.map has no option timeout=; did you mean timeout_s=\?"),
        (lambda p: p.gather(until=r), r"@pipeline\.gather has no option until=; known: enough"),
        (lambda p: p.resource(), r"missing a required argument: 'factory'; write @pipeline\.resource"),
    ],
)
def test_a_decorator_used_wrongly(call: Callable[[Any], Any], says: str) -> None:
    refused(lambda: call(Pipeline("p", request=Q)), says)


def test_map_and_gather_with_and_without_parentheses() -> None:
    bare, called = first(), first()
    assert bare.map(found) is found
    assert called.map()(found) is found
    bare.gather(r)
    called.gather()(r)
    assert bare.root == called.root == "r"
    assert bare.stages["found"].timeout_s == called.stages["found"].timeout_s == 30.0


@pytest.mark.parametrize(
    ("request_type", "says"),
    [
        (dict, r"pipeline 'p': request=dict: expected a class that derives from Record, such as class Topic\(Record\)"),
        (dict[str, str], r"request=dict\[str, str\]: expected a class"),
        (Plain, "request=Plain: expected a class that derives from Record"),
        (Bare, "request=Bare: expected a class that derives from Record"),
        (Record, "request=Record: expected a class that derives"),
        (Q("x"), "request=an instance of Q: expected a class"),
        (None, "request=an instance of NoneType: "),
    ],
)
def test_a_request_that_is_no_record(request_type: Any, says: str) -> None:
    refused(lambda: Pipeline("p", request=request_type), says)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (Lost, "the types of Lost cannot be read: name 'Nowhere' is not defined; import it, or define it at the top"),
        (Holding, "Holding.handles is of type Handle, which JSON cannot carry"),
        (Around, "Holding.handles is of type Handle, which JSON cannot carry"),
    ],
)
def test_a_record_that_cannot_be_read(record: Any, says: str) -> None:
    def lost(q: Q) -> Any:
        raise NotImplementedError

    refused(lambda: Pipeline("p", request=record), f"pipeline 'p': {says}")
    lost.__annotations__["return"] = Prompt[record]
    refused(of(lost), f"stage 'lost': {says}")


@pytest.mark.parametrize("name", ["", "Sum", "größe", "a-b", "x" * 81, "1st", None])
def test_a_name_that_is_none_for_a_topic(name: Any) -> None:
    refused(lambda: Pipeline(name, request=Q), "its name becomes part of topic names; use ")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"view": View}, r"view=the class View: expected an instance of a View, such as view=MyView\(\)"),
        ({"view": "table"}, "view=str: expected an instance"),
        ({"options": ["--brief"]}, "options: str: expected a Flag or a Folder"),
        ({"options": [Flag]}, "options: the class Flag: expected a Flag or a Folder"),
    ],
)
def test_what_a_pipeline_cannot_bring(given: dict[str, Any], says: str) -> None:
    refused(lambda: Pipeline("p", request=Q, **given), f"pipeline 'p': {says}")
