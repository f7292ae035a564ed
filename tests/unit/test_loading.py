"""Names in ALTO_PIPELINES: `module:attribute`, and what is said of one that names no pipeline."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alto_streams.define.loading import load_pipelines, module_of
from alto_streams.errors import ConfigError

TWO = """
from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record

class Ask(Record):
    text: str

class Part(Record):
    text: str

class Out(Record):
    text: str

def made(name):
    pipeline = Pipeline(name, request=Ask)

    @pipeline.generate(model="chat")
    def parts(ask: Ask) -> Prompt[Part]:
        return Prompt(fixed=[], variable=ask.text, parse=Lines(Part))

    @pipeline.gather
    def out(parts: Gather[Part]) -> Out:
        return Out("")

    return pipeline

first, second, same, number = made("one"), made("other"), made("one"), 3
"""
MODULES = {
    "two": TWO,
    "unreadable": "pipeline = (\n",
    "needs_more": "import no_such_package.inner\n",
    "ends": "import sys\nsys.exit(0)\n",
    "refused": TWO.replace('model="chat"', 'model="chat", broken="redoo"'),
    "raises": "value = 1\nraise RuntimeError('boom')\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def test_a_pipeline_is_named_by_module_and_attribute() -> None:
    assert list(load_pipelines(["two:second", "two:first"])) == ["other", "one"]
    assert list(load_pipelines(["two:first", "two:first"])) == ["one"]
    assert module_of("two:first") == "two"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "ALTO_PIPELINES: it names no pipeline; give one as my_module:pipeline"),
        (["./two.py"], r"ALTO_PIPELINES: \./two\.py: it is a path; name the module as Python imports it: two:pipeline"),
        (["dir/two.py:first"], r"it is a path; name the module as Python imports it: dir\.two:first"),
        (["/some/where-else/two"], "it is a path; name the module as Python imports it: my_module:pipeline"),
        (["two:first:x"], "'two:first:x': expected module:attribute, such as my_module:pipeline"),
        (["two:"], "'two:': expected module:attribute, such as my_module:pipeline"),
        (["two"], "two: 'pipeline' is not there; write two:first or two:second or two:same"),
        (["two:thrid"], "two:thrid: 'thrid' is not there; write two:first or two:second"),
        (["two:number"], "two:number: 'number' is int, no Pipeline; write two:first"),
        (["two:first", "two:same"], "two:first and two:same are both named 'one'"),
        (["tow:first"], "tow:first: there is no module 'tow' in "),
        (["two.inner:first"], r"two\.inner:first: there is no module 'two\.inner' in "),
        (["unreadable"], r"unreadable\.py, line 1: '\(' was never closed"),
        (["needs_more"], r"No module named 'no_such_package' \(.*needs_more\.py, line 1\); install it"),
        (
            ["ends"],
            r"ends: it ends the process when it is imported \(.*ends\.py, line 2\); put what is to run under if __n",
        ),
        (["refused"], r"stage 'parts': broken='redoo': expected .* \(.*refused\.py, line \d+\)$"),
        (["raises"], r"raises: RuntimeError: boom \(.*raises\.py, line 2\)"),
    ],
)
def test_names_that_name_no_pipeline(names: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_pipelines(names)
